"""Training that begins from networks there are already."""

import dataclasses
import json

import pytest
import torch
from safetensors.torch import load_file

from atlas.errors import InputError
from atlas.preset import TrainSettings, override
from pipeline.gan import Discriminator, Generator, save_network
from pipeline.gan.architecture import DiscriminatorArchitecture, GeneratorArchitecture
from pipeline.gan.checkpoint import save_rosinality
from pipeline.gan.stages import train_stage
from pipeline.gan.training import train
from pipeline.gan.transfer import configure

G_ARCH = GeneratorArchitecture(6, 0, 6, 16, 3, 3, (8, 8, 4))
D_ARCH = DiscriminatorArchitecture(0, 16, 3, (8, 8, 4))
SETTINGS = TrainSettings(config="auto", kimg=0.004, batch=4, snapshot_kimg=0.004)


@pytest.fixture
def networks(make_generator):
    return make_generator(G_ARCH), Discriminator(D_ARCH)


@pytest.fixture
def checkpoint(networks, pickle_networks, official_arguments, tmp_path):
    """Give the same networks as a checkpoint of each kind."""
    G, D = networks

    def write(kind):
        path = tmp_path / f"network.{kind}"
        if kind == "pkl":
            kept = {"G_ema": (G, official_arguments(G_ARCH)), "D": (D, official_arguments(D_ARCH))}
            path.write_bytes(pickle_networks(kept))
        elif kind == "pt":
            save_rosinality(G, path)
        elif kind == "safetensors":
            save_network(G, path)
        else:
            path.mkdir()
            save_network(G, path / "generator.safetensors")
            save_network(D, path / "discriminator.safetensors")
        return path

    return write


@pytest.mark.parametrize(("kind", "with_discriminator"), [("pkl", 1), ("folder", 1), ("pt", 0), ("safetensors", 0)])
def test_the_first_weights_are_the_checkpoint_s(kind, with_discriminator, checkpoint, networks, tiny_dataset, tmp_path):
    settings = override(SETTINGS, init=str(checkpoint(kind)))
    config, beginning = configure(settings, 16)
    assert (config.channels, config.latent, config.mapping_layers) == ((8, 8, 4), 6, 3)
    assert (config.ada_kimg, config.ema_rampup) == (100.0, 0.0)
    for name, tensor in beginning.G.state_dict().items():
        assert torch.equal(tensor, networks[0].state_dict()[name]), name
    assert (beginning.D is not None) == with_discriminator
    news = []
    out = tmp_path / "out"
    train(tiny_dataset, out, settings, 3, log=news.append)
    assert ("discriminator that starts anew" in " ".join(news)) != with_discriminator
    state = load_file(out / "training-state.safetensors")
    moved = (state["G.synthesis.b4.const"] - networks[0].synthesis.b4.const).abs().max()
    assert 0 < moved < 0.01  # one step from where it began
    assert torch.equal(state["G.synthesis.b8.conv0.noise_const"], networks[0].synthesis.b8.conv0.noise_const)
    moved = (state["D.b16.conv0.weight"] - networks[1].b16.conv0.weight).abs().max()
    assert (moved < 0.01) == with_discriminator


def test_a_limit_on_activations_that_is_not_taken_over_is_said(make_generator, tiny_dataset, tmp_path):
    """Networks of the official float16 training have one; float32 trains without."""
    folder, news = tmp_path / "first", []
    folder.mkdir()
    save_network(make_generator(dataclasses.replace(G_ARCH, conv_clamp=256.0)), folder / "generator.safetensors")
    save_network(Discriminator(D_ARCH), folder / "discriminator.safetensors")
    train(tiny_dataset, tmp_path / "out", override(SETTINGS, init=str(folder)), 3, log=news.append)
    assert f"train: beginning from {folder}, its generator limits activations to ±256, here to nothing" in news
    save_network(make_generator(G_ARCH), folder / "generator.safetensors")
    config, beginning = configure(override(SETTINGS, init=str(folder)), 16)
    assert beginning.news("first", config) == "train: beginning from first"
    half = dataclasses.replace(config, precision="fp16")
    assert beginning.news("first", half).count("limits activations to nothing, here to ±256") == 2


def test_a_kill_does_not_begin_again(checkpoint, tiny_dataset, tmp_path):
    settings = override(SETTINGS, init=str(checkpoint("pkl")))
    for kimg in (0.004, 0.012):
        train(tiny_dataset, tmp_path / "parts", override(settings, kimg=kimg), 3, log=lambda line: None)
    train(tiny_dataset, tmp_path / "whole", override(settings, kimg=0.012), 3, log=lambda line: None)
    name = "training-state.safetensors"
    assert (tmp_path / "parts" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_where_it_began_is_recorded_and_another_beginning_is_another_run(
    checkpoint, make_generator, tiny_dataset, tmp_path
):
    path = checkpoint("safetensors")
    settings = override(SETTINGS, init=str(path))
    stage, work = train_stage(tiny_dataset, settings, 3, "cpu", tmp_path / "out", log=lambda line: None)
    assert stage.inputs["initial generator"] == path
    assert len(stage.settings["init"]) == 64
    assert str(tmp_path) not in json.dumps(dict(stage.settings))
    work(False)
    save_network(make_generator(G_ARCH, 2), path)
    with pytest.raises(InputError, match=r"state of another run \(init"):
        train(tiny_dataset, tmp_path / "out", settings, 3, log=lambda line: None)


@pytest.mark.parametrize(
    ("arch", "message"),
    [
        (GeneratorArchitecture(6, 0, 6, 32, 3, 2, (8, 8, 8, 4)), "makes images of 32 px, the dataset has 16 px"),
        (GeneratorArchitecture(6, 2, 6, 16, 3, 2, (8, 8, 4)), "a condition of 2 numbers"),
        (GeneratorArchitecture(6, 0, 6, 16, 1, 2, (8, 8, 4)), "images of 1 channels"),
        (GeneratorArchitecture(6, 0, 5, 16, 3, 2, (8, 8, 4)), "its z has 6 numbers and its w 5"),
        (GeneratorArchitecture(6, 0, 6, 16, 3, 2, (8, 4, 5)), r"its widths \[8, 4, 5\] follow no"),
    ],
)
def test_networks_that_do_not_suit(arch, message, tmp_path):
    save_network(Generator(arch), tmp_path / "g.safetensors")
    with pytest.raises(InputError, match=message):
        configure(override(SETTINGS, init=str(tmp_path / "g.safetensors")), 16)


def test_settings_that_contradict_the_networks_are_listed(checkpoint):
    settings = override(SETTINGS, init=str(checkpoint("pt")), channel_base=512, latent=7)
    with pytest.raises(InputError, match="its channel_base is 64, 512 is asked for; its latent is 6, 7 is asked for"):
        configure(settings, 16)
    assert configure(override(settings, channel_base=64, latent=6), 16)[0].latent == 6


def test_what_is_no_beginning(tmp_path):
    save_network(Discriminator(D_ARCH), tmp_path / "d.safetensors")
    for given, message in (
        ("absent.pkl", "no such file or folder"),
        (".", r"it has no generator\.safetensors"),
        ("d.safetensors", "does not hold the network that was asked for, a generator"),
    ):
        with pytest.raises(InputError, match=message):
            configure(override(SETTINGS, init=str(tmp_path / given)), 16)


def test_a_discriminator_of_other_widths(checkpoint):
    folder = checkpoint("folder")
    save_network(Discriminator(DiscriminatorArchitecture(0, 16, 3, (8, 8, 6))), folder / "discriminator.safetensors")
    with pytest.raises(InputError, match=r"discriminator in .* does not match its generator: channels is"):
        configure(override(SETTINGS, init=str(folder)), 16)


def test_a_run_does_not_begin_from_what_it_replaces(checkpoint, tiny_dataset):
    folder = checkpoint("folder")
    for init in (folder, folder / "generator.safetensors"):
        with pytest.raises(InputError, match="cannot begin from a network in it"):
            train_stage(tiny_dataset, override(SETTINGS, init=str(init)), 3, "cpu", folder)
