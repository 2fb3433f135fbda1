"""The stage ``render``: what boundaries warn of is in the archive, and another generator's boundaries are refused."""

import dataclasses

import numpy as np
import pytest
import torch

from atlas import open_atlas
from atlas.errors import InputError
from atlas.files import sha256_path
from atlas.preset import RenderSettings
from atlas.stage import run_stage
from pipeline.boundaries.store import Boundaries, write_boundaries
from pipeline.gan import Generator, save_network
from pipeline.gan.architecture import GeneratorArchitecture
from pipeline.inversion.latents import Latents, write_latents
from pipeline.render.stages import RenderSources, render_stage

DIM, LAYERS = 8, 4
WARNING = "projector: in places that it has not seen, the boundary of income does no better than chance"


@pytest.fixture(scope="module")
def generator(tmp_path_factory):
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("generator") / "generator.safetensors"
    save_network(Generator(GeneratorArchitecture(DIM, 0, DIM, 8, 3, 2, (8, 8))).eval(), path)
    return path


def boundaries(path, **changes):
    normals = np.eye(3, DIM)
    one, span = np.ones(3), np.full(3, 2.0)
    found = Boundaries("projector", "w", LAYERS, DIM, normals, np.zeros(3), one, normals, one, span, span)
    write_boundaries(path, [dataclasses.replace(found, **changes)])
    return path


def render(tmp_path, generator, found, bases="random:1", latents=None):
    sources = RenderSources(generator, found, latents)
    settings = RenderSettings(bases=bases, steps=1)
    out = tmp_path / "street.zarr"
    run_stage(*render_stage(sources, settings, "A street", 1, "cpu", out, tmp_path / "stage.json"), log=lambda _: None)
    return open_atlas(out)


def test_what_the_boundaries_warn_of_is_in_the_archive(tmp_path, generator):
    found = boundaries(tmp_path / "b.safetensors", warnings=(WARNING,), generator_sha256=sha256_path(generator))
    assert render(tmp_path, generator, found).info.warnings == (WARNING,)


def test_streets_after_photographs_that_may_not_be_shown_are_warned_of(tmp_path, generator):
    found = boundaries(tmp_path / "b.safetensors", warnings=(WARNING,))
    latents = Latents(np.zeros((1, LAYERS, DIM), np.float32), ("00000/img00000000.png",))
    write_latents(tmp_path / "l.safetensors", latents)
    opened = render(tmp_path, generator, found, "inverted:img00000000", tmp_path / "l.safetensors")
    first, second = opened.info.warnings
    assert first == WARNING
    assert "drawn after photographs whose licence reserves all rights, or which state none" in second


@pytest.mark.parametrize("changes", [{"generator_sha256": "0" * 64}, {"w_dim": 4}, {"num_ws": 6}])
def test_boundaries_of_another_generator_are_refused(tmp_path, generator, changes):
    with pytest.raises(InputError, match=r"b\.safetensors were found with another generator than .*generator"):
        render(tmp_path, generator, boundaries(tmp_path / "b.safetensors", **changes))


def test_codes_of_another_generator_are_refused_as_bases(tmp_path, generator):
    found = boundaries(tmp_path / "b.safetensors")
    latents = Latents(np.zeros((1, LAYERS, DIM), np.float32), ("00000/img00000000.png",))
    write_latents(tmp_path / "l.safetensors", latents, {"generator_sha256": "0" * 64})
    with pytest.raises(InputError, match=r"l\.safetensors were made with another generator"):
        render(tmp_path, generator, found, "inverted:img00000000", tmp_path / "l.safetensors")
    wide = Latents(np.zeros((1, LAYERS, DIM + 1), np.float32), latents.files)
    write_latents(tmp_path / "l.safetensors", wide)
    with pytest.raises(InputError, match=r"must be \[4, 8\] as the generator's are, got \[4, 9\]"):
        render(tmp_path, generator, found, "inverted:img00000000", tmp_path / "l.safetensors")
