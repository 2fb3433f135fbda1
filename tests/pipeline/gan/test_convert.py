"""`atlas convert`: from every format to both that are written."""

import os
import pickle

import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file

from atlas.cli import main
from pipeline.gan import Discriminator, load_discriminator, load_generator, save_network
from pipeline.gan.architecture import DiscriminatorArchitecture, GeneratorArchitecture
from pipeline.gan.checkpoint import save_rosinality

G_ARCH = GeneratorArchitecture(6, 0, 6, 16, 3, 2, (8, 8, 4), conv_clamp=256.0)
D_ARCH = DiscriminatorArchitecture(0, 16, 3, (8, 8, 4), conv_clamp=256.0)


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        return CliRunner().invoke(main, ["convert", *arguments])

    return run


@pytest.fixture
def networks(make_generator):
    return make_generator(G_ARCH), Discriminator(D_ARCH).eval()


@pytest.fixture
def sources(networks, pickle_networks, official_arguments, tmp_path):
    """The same generator in three formats."""
    G, D = networks
    kept = {"G_ema": (G, official_arguments(G_ARCH)), "D": (D, official_arguments(D_ARCH))}
    (tmp_path / "network.pkl").write_bytes(pickle_networks(kept))
    save_network(G, tmp_path / "g.safetensors")
    save_rosinality(G, tmp_path / "g.pt")


@pytest.mark.parametrize("target", ["out.safetensors", "out.pt"])
@pytest.mark.parametrize("source", ["network.pkl", "g.safetensors", "g.pt"])
def test_every_way(source, target, run, sources, networks):
    done = run(source, target)
    assert done.exit_code == 0, done.output
    assert f"{source}: generator, 16 px, z 6, w 6 × 6, 2 mapping layers, 8 to 4 channels → {target}: " in done.output
    for (name, mine), theirs in zip(
        load_generator(target).state_dict().items(), networks[0].state_dict().values(), strict=True
    ):
        assert torch.equal(mine, theirs), name
    if target == "out.pt":
        assert "no channel_multiplier of rosinality's code makes a network of these widths" in done.output
        assert ("kept within ±256" in done.output) == (source != "g.pt")


def test_the_same_twice_is_the_same_file(run, sources, tmp_path):
    for source in ("network.pkl", "g.safetensors"):
        run(source, f"from-{source}.safetensors")
        run(source, f"from-{source}.pt")
    assert (tmp_path / "from-network.pkl.safetensors").read_bytes() == (tmp_path / "g.safetensors").read_bytes()
    assert (tmp_path / "from-network.pkl.pt").read_bytes() == (tmp_path / "from-g.safetensors.pt").read_bytes()


def test_the_discriminator(run, sources, networks):
    done = run("network.pkl", "d.safetensors", "--network", "discriminator")
    assert "discriminator, 16 px, 8 to 4 channels" in done.output
    assert load_discriminator("d.safetensors").architecture == D_ARCH
    again = run("d.safetensors", "d.pt")  # there is only one to take
    assert again.exit_code == 0, again.output
    images = torch.rand(4, 3, 16, 16)
    assert torch.equal(load_discriminator("d.pt")(images), networks[1](images))


def test_half_precision_is_half_as_large_and_loads(run, sources, networks, tmp_path):
    assert run("network.pkl", "half.safetensors", "--dtype", "float16").exit_code == 0
    assert {t.dtype for t in load_file("half.safetensors").values()} == {torch.float16}
    assert (tmp_path / "half.safetensors").stat().st_size < 0.7 * (tmp_path / "g.safetensors").stat().st_size
    loaded = load_generator("half.safetensors")
    assert loaded.architecture == G_ARCH
    for name, tensor in loaded.state_dict().items():
        assert tensor.dtype == torch.float32
        assert torch.allclose(tensor, networks[0].state_dict()[name], rtol=1e-3, atol=1e-6), name


def test_numbers_too_large_for_half_precision(run, networks, tmp_path):
    networks[0].mapping.fc1.weight[0, 0] = 1e6
    save_network(networks[0], tmp_path / "g.safetensors")
    refused = run("g.safetensors", "half.safetensors", "--dtype", "float16")
    assert refused.exit_code == 2
    assert "float16 cannot hold the numbers of mapping.fc1.weight" in refused.output
    assert not (tmp_path / "half.safetensors").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["network.pkl", "out.pkl"], "must end in .safetensors or .pt"),
        (["g.pt", "g.pt"], "is the file that is read"),
        (["g.pt", "out.pt", "--dtype", "float16"], "written as float32 only"),
        (["g.pt", "out.safetensors", "--network", "discriminator"], "asked for, a discriminator: it holds a generator"),
        (["absent.pkl", "out.safetensors"], "absent.pkl"),
        (["text.pkl", "out.safetensors"], "text.pkl"),
        (["text.txt", "out.safetensors"], "its name must end in .safetensors, .pkl, .pt"),
    ],
)
def test_what_cannot_be_done_is_one_line(arguments, message, run, sources, tmp_path):
    (tmp_path / "text.pkl").write_text("hello")
    (tmp_path / "text.txt").write_text("hello")
    refused = run(*arguments)
    assert refused.exit_code == 2
    assert message in refused.output
    assert refused.output.splitlines()[-1].startswith("Error: ")


class Payload:
    def __reduce__(self):
        return os.system, ("touch ran",)


@pytest.mark.parametrize("source", ["evil.pkl", "evil.pt"])
def test_a_payload_is_one_line_and_never_run(source, run, tmp_path):
    if source == "evil.pkl":
        (tmp_path / source).write_bytes(pickle.dumps({"G_ema": Payload()}))
    else:
        torch.save({"g_ema": Payload()}, tmp_path / source)
    refused = run(source, "out.safetensors")
    assert refused.exit_code == 2
    assert len(refused.output.splitlines()) == 1
    assert "nothing in it was run" in refused.output
    assert {p.name for p in tmp_path.iterdir()} == {source}
