"""rosinality's .pt, and the same generator inside e4e and ReStyle files."""

import argparse
import hashlib
import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from atlas.errors import InputError
from pipeline.gan import Discriminator, Generator, load_discriminator, load_generator
from pipeline.gan.architecture import DiscriminatorArchitecture, GeneratorArchitecture
from pipeline.gan.checkpoint import save_rosinality
from pipeline.gan.rosinality import discriminator_entries, generator_entries, kernel, rosinality_state

PARITY = Path(__file__).resolve().parents[2] / "parity"
G_ARCH = GeneratorArchitecture(6, 0, 6, 16, 3, 2, (8, 8, 4))
D_ARCH = DiscriminatorArchitecture(0, 16, 3, (8, 8, 4))


def shapes_of(entries, network):
    """Names and shapes as in the file, from the official network's."""
    own = network.state_dict()
    for e in entries:
        shape = [4, 4] if e.official is None else list(e.to_theirs(own[e.official]).shape)
        yield [e.theirs, shape, "float32"]


def test_the_recorded_names_and_shapes_in_their_order(layouts):
    recorded = layouts["rosinality_pt"]
    channels = (512, 512, 512, 512, 512)
    with torch.device("meta"):
        G = Generator(GeneratorArchitecture(512, 0, 512, 64, 3, 8, channels))
        D = Discriminator(DiscriminatorArchitecture(0, 64, 3, channels))
    assert list(shapes_of(generator_entries(64, 8), G)) == recorded["g"]
    assert list(shapes_of(discriminator_entries(64), D)) == recorded["d"]
    taken = [e.official for e in generator_entries(64, 8)] + [e.official for e in discriminator_entries(64)]
    own = [n for n in (*G.state_dict(), *D.state_dict()) if not n.endswith(("resample_filter", "w_avg"))]
    assert sorted(n for n in taken if n) == sorted(own)


def test_the_recorded_decoder_of_e4e(layouts):
    with torch.device("meta"):
        G = Generator(GeneratorArchitecture(512, 0, 512, 32, 3, 8, (512,) * 4))
    assert [[f"decoder.{n}", s, t] for n, s, t in shapes_of(generator_entries(32, 8), G)] == layouts["e4e_pt"][
        "decoder"
    ]


@pytest.fixture
def generator(make_generator):
    return make_generator(G_ARCH)


@pytest.fixture
def state(generator):
    return rosinality_state(generator)


def write(path, content):
    torch.save(content, path)
    return path


def same(loaded, network):
    for (name, mine), theirs in zip(loaded.state_dict().items(), network.state_dict().values(), strict=True):
        assert torch.equal(mine, theirs), name


def test_a_generator_comes_back(generator, tmp_path, rng):
    save_rosinality(generator, tmp_path / "g.pt")
    loaded = load_generator(tmp_path / "g.pt")
    same(loaded, generator)
    assert loaded.architecture == G_ARCH
    z = torch.randn(2, 6, generator=rng)
    assert torch.equal(loaded(z, truncation_psi=0.6), generator(z, truncation_psi=0.6))
    save_rosinality(generator, tmp_path / "again.pt")
    assert (tmp_path / "again.pt").read_bytes() == (tmp_path / "g.pt").read_bytes()


def test_a_discriminator_comes_back(tmp_path, rng):
    D = Discriminator(D_ARCH).eval()
    save_rosinality(D, tmp_path / "d.pt")
    loaded = load_discriminator(tmp_path / "d.pt")
    same(loaded, D)
    images = torch.randn(4, 3, 16, 16, generator=rng)
    assert torch.equal(loaded(images), D(images))


@pytest.mark.parametrize("repeated", [True, False])
def test_the_decoder_of_an_encoder_s_file(repeated, generator, state, tmp_path, layouts):
    w_avg = generator.mapping.w_avg
    content = {
        "state_dict": {"encoder.input_layer.0.weight": torch.zeros(2), **{f"decoder.{n}": t for n, t in state.items()}},
        "opts": {**dict.fromkeys(layouts["e4e_pt"]["opts_keys"], 1), "device": "cuda:0"},
        "latent_avg": w_avg.repeat(6, 1) if repeated else w_avg,
        "global_step": 5,
    }
    same(load_generator(write(tmp_path / "e4e.pt", content)), generator)
    with pytest.raises(InputError, match="asked for, a discriminator: it holds a generator"):
        load_discriminator(tmp_path / "e4e.pt")


def test_a_training_checkpoint_has_no_mean_w_and_gets_one(generator, state, tmp_path):
    content = {
        "g": state,
        "g_ema": state,
        "d": rosinality_state(Discriminator(D_ARCH)),
        "g_optim": {"state": {0: {"step": 3, "exp_avg": torch.zeros(2)}}, "param_groups": [{"lr": 0.002}]},
        "args": argparse.Namespace(size=16),
        "ada_aug_p": 0.1,
    }
    path = write(tmp_path / "550000.pt", content)
    loaded, again = load_generator(path), load_generator(path)
    assert load_discriminator(path).architecture == D_ARCH
    assert torch.equal(loaded.mapping.w_avg, again.mapping.w_avg)
    many = generator.mapping(torch.randn(20000, 6, generator=torch.Generator().manual_seed(9)))[:, 0]
    assert torch.allclose(loaded.mapping.w_avg, many.mean(0), atol=5 * (many.std(0).max() / 100).item())
    loaded.mapping.w_avg.copy_(generator.mapping.w_avg)
    same(loaded, generator)


def test_everything_that_is_wrong_is_listed_at_once_by_the_file_s_names(state, tmp_path):
    del state["convs.0.activate.bias"]
    del state["convs.0.conv.blur.kernel"]
    state["noises.noise_2"] = torch.zeros(1, 1, 9, 9)
    state["convs.1.conv.weight"] = state["convs.1.conv.weight"][0]
    state["face_pool.weight"] = torch.zeros(1)
    state["to_rgbs.0.upsample.kernel"] = kernel(1.0)
    with pytest.raises(InputError) as error:
        load_generator(write(tmp_path / "g.pt", {"g_ema": state}))
    for part in (
        "convs.0.activate.bias is missing",
        "convs.0.conv.blur.kernel is missing",
        "noises.noise_2 must be [8, 8], got [9, 9]",
        "convs.1.conv.weight must have length 1 in axes [0], got [8, 8, 3, 3]",
        "face_pool.weight is unexpected",
        "to_rgbs.0.upsample.kernel must be the filter of (1.0, 3.0, 3.0, 1.0) with gain 4",
    ):
        assert part in str(error.value), part


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({}, "holds no network"),
        ({"g": {}}, "holds no network"),
        ({"g_ema": {"weight": torch.zeros(1)}}, "does not hold a generator by the names of rosinality"),
        ({"g_ema": {"to_rgbs.999.conv.weight": torch.zeros(1)}}, "does not hold a generator by the names"),
        ({"g_ema": {"to_rgbs.0.conv.weight": 3}}, "g_ema must hold named tensors only"),
        ({"g_ema": {5: torch.zeros(1)}}, "g_ema must hold named tensors only"),
        ({"state_dict": {"encoder.a": torch.zeros(1)}}, "holds no network"),
        ({"g_ema": {"to_rgbs.0.conv.weight": torch.zeros(1)}, "latent_avg": "mean"}, "latent_avg must be a tensor"),
        (
            {"g_ema": {"to_rgbs.0.conv.weight": torch.zeros(1)}, "latent_avg": torch.eye(3)},
            "latent_avg must be the same for every layer",
        ),
    ],
)
def test_files_of_another_kind(content, message, tmp_path):
    with pytest.raises(InputError, match=message):
        load_generator(write(tmp_path / "g.pt", content))


class Payload:
    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.system, (f"touch {self.marker}",)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_payload_is_refused_and_not_run(zipped, state, tmp_path):
    path, marker = tmp_path / "g.pt", tmp_path / "ran"
    torch.save({"g_ema": state, "args": Payload(marker)}, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(InputError, match="nothing in it was run"):
        load_generator(path)
    assert not marker.exists()


@pytest.mark.parametrize(
    ("arch", "message"),
    [
        (GeneratorArchitecture(6, 3, 6, 8, 3, 2, (4, 4)), "a condition"),
        (GeneratorArchitecture(6, 0, 5, 8, 3, 2, (4, 4)), "z_dim 6 beside w_dim 5"),
        (GeneratorArchitecture(6, 0, 6, 8, 1, 2, (4, 4)), "1 image channels"),
        (DiscriminatorArchitecture(0, 8, 3, (4, 4), mbstd_group=8), "groups of 8"),
    ],
)
def test_what_the_format_has_no_place_for(arch, message, tmp_path):
    network = Generator(arch) if isinstance(arch, GeneratorArchitecture) else Discriminator(arch)
    with pytest.raises(InputError, match=message):
        save_rosinality(network, tmp_path / "n.pt")
    assert list(tmp_path.iterdir()) == []


def ruled(name, shape, kind):
    """The recorded decoder's weights, by their rule."""
    seed = int.from_bytes(hashlib.sha256(f"decoder.{name}".encode()).digest()[:8], "big")
    n = np.random.default_rng(seed).standard_normal(shape)
    value = {"mlpw": 100 * n, "mlpb": 30 * n, "one": 1 + 0.3 * n, "pt3": 0.3 * n, "bias": 0.1 * n, "normal": n}[kind]
    return torch.from_numpy(np.asarray(value, np.float32))


def test_the_recorded_decoder_renders_the_recorded_images(tmp_path):
    """The decoder of the official ReStyle loop, in its own file format, against its recorded images."""
    entry = json.loads((PARITY / "checkpoint.json").read_text())["fixtures"][0]
    recorded = load_file(PARITY / "restyle_loop.safetensors")
    names = json.loads((PARITY / "restyle_loop.names.json").read_text())["state_dict"]
    state = {n: kernel(4.0) if kind == "keep" else ruled(n, shape, kind) for n, shape, _, kind in names}
    seed = int.from_bytes(hashlib.sha256(b"latent_avg").digest()[:8], "big")
    latent_avg = torch.from_numpy((0.3 * np.random.default_rng(seed).standard_normal([6, 512])).astype(np.float32))
    path = write(tmp_path / "restyle.pt", {"state_dict": {f"decoder.{n}": t for n, t in state.items()}})
    G = load_generator(path)
    images = {"out.avg_image": latent_avg}
    images |= {f"out.iter{i}.image": recorded[f"out.iter{i}.codes"] for i in range(3)}
    for name, w in images.items():
        difference = (G.synthesis(w[None], noise_mode="const")[0] - recorded[name]).abs().max().item()
        assert difference <= entry["outputs"][name]["suggested_atol"], name
