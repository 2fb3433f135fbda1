"""`atlas invert --method e4e` and `restyle`: what the encoder gives is what is written, and the wrong file is named."""

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from atlas.cli import main
from atlas.preset import InvertSettings
from atlas.stage import run_stage
from pipeline.gan import load_generator
from pipeline.inversion import load_encoder, read_latents, save_encoder
from pipeline.inversion.batches import to_images
from pipeline.inversion.encoders.architecture import EncoderArchitecture
from pipeline.inversion.encoders.encoder import Encoder
from pipeline.inversion.stages import InvertSources, invert_stage
from pipeline.photos.dataset import open_dataset


@pytest.fixture(scope="module")
def encoders(tmp_path_factory, tiny_generator_path):
    """An untrained encoder of each method for the tiny generator, by method."""
    folder, generator = tmp_path_factory.mktemp("encoders"), load_generator(tiny_generator_path)
    paths = {}
    for method in ("e4e", "restyle"):
        torch.manual_seed(3)
        arch = EncoderArchitecture.made_for(method, "narrow", "e4e", generator.num_ws, generator.w_dim, 16, 2)
        paths[method] = folder / f"{method}.safetensors"
        save_encoder(Encoder(arch, generator.mapping.w_avg, generator).eval(), paths[method])
    return paths


def invert(generator, data, out, *options):
    paths = ["--generator", str(generator), "--data", str(data), "--out", str(out)]
    return CliRunner().invoke(main, ["invert", *paths, "--batch", "4", *options])


@pytest.mark.parametrize("method", ["e4e", "restyle"])
def test_the_codes_are_the_encoder_s(method, tmp_path, encoders, tiny_generator_path, tiny_dataset_path):
    out = tmp_path / f"{method}.safetensors"
    done = invert(tiny_generator_path, tiny_dataset_path, out, "--method", method, "--encoder", str(encoders[method]))
    assert done.exit_code == 0, done.output
    found = read_latents(out)
    encoder = load_encoder(encoders[method], generator=load_generator(tiny_generator_path))
    images = to_images(open_dataset(tiny_dataset_path), range(10), torch.device("cpu"))
    with torch.no_grad():
        np.testing.assert_allclose(found.w, encoder(images), atol=1e-5)
    assert found.metadata["method"] == method
    assert "steps" not in found.metadata
    assert not found.broadcast
    assert (found.w[0] != found.w[1]).any()
    assert set(found.metadata["mean"]) == {"l2", "perceptual", "ssim"}


def test_an_encoder_inverts_all_photographs_where_the_projector_is_limited(
    tmp_path, encoders, tiny_generator_path, tiny_dataset_path
):
    counts, settings = {}, InvertSettings(limit=2, steps=1)  # of a preset, for all its methods
    for method, encoder in (("e4e", encoders["e4e"]), ("projector", None)):
        sources = InvertSources(tiny_generator_path, tiny_dataset_path, encoder)
        out, record = tmp_path / f"{method}.safetensors", tmp_path / f"{method}.stage.json"
        stage, work = invert_stage(method, sources, settings, 1, "cpu", out, record)
        assert run_stage(stage, work)
        counts[method] = len(read_latents(out))
    assert counts["e4e"] == 10
    assert counts["projector"] <= 3


def test_the_wrong_encoder_is_named(tmp_path, encoders, tiny_generator_path, tiny_dataset_path, photographs_of):
    out = tmp_path / "x.safetensors"

    def refused(data, method, encoder, words):
        done = invert(tiny_generator_path, data, out, "--method", method, "--encoder", str(encoder))
        assert done.exit_code == 2, done.output
        line = next(line for line in done.stderr.splitlines() if line.startswith("Error:"))
        assert words in line, line
        assert not out.exists()

    refused(tiny_dataset_path, "restyle", encoders["e4e"], "e4e.safetensors is an encoder of e4e and not of restyle")
    refused(tiny_dataset_path, "e4e", tiny_generator_path, "is not an encoder")
    large = photographs_of(tmp_path / "dataset.zip", 32)
    refused(large, "e4e", encoders["e4e"], "photographs must be 16 × 16 as the generator's images are, got 32 × 32")


def test_three_methods_are_compared(tmp_path, encoders, tiny_generator_path, tiny_dataset_path):
    outs = []
    for method, options in (
        ("e4e", ["--encoder", str(encoders["e4e"])]),
        ("restyle", ["--encoder", str(encoders["restyle"])]),
        ("projector", ["--steps", "3", "--start", str(tmp_path / "e4e.safetensors")]),
    ):
        outs.append(tmp_path / f"{method}.safetensors")
        done = invert(tiny_generator_path, tiny_dataset_path, outs[-1], "--method", method, *options)
        assert done.exit_code == 0, done.output
    common = ["--generator", str(tiny_generator_path), "--data", str(tiny_dataset_path)]
    done = CliRunner().invoke(main, ["compare", *map(str, outs), *common, "--out", str(tmp_path / "comparison.json")])
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    assert [line.split()[0] for line in lines[2:]] == ["e4e", "ReStyle", "projector", "w_avg"]
    assert all("–" not in line for line in lines[2:5])  # each method's seconds are known
