"""Configurations against the official tables, and what they refuse."""

import dataclasses
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atlas.errors import InputError
from atlas.preset import TrainSettings, load_preset, override
from pipeline.gan.config import advised_batch, auto_batch, resolve
from pipeline.processes import Processes
from pipeline.run import RunFolder


@pytest.mark.parametrize(
    ("resolution", "batch", "gamma", "ema", "base", "rate"),
    [
        (128, 32, 0.1024, 10, 16384, 0.0025),
        (256, 16, 0.8192, 5, 16384, 0.0025),
        (512, 8, 6.5536, 2.5, 32768, 0.0025),
        (1024, 4, 52.4288, 1.25, 32768, 0.002),
    ],
)
def test_auto_is_the_official_one_for_a_gpu(resolution, batch, gamma, ema, base, rate):
    config = resolve(TrainSettings(config="auto"), resolution)
    assert (config.batch, config.channel_base, config.mapping_layers) == (batch, base, 2)
    assert config.gamma == pytest.approx(gamma)
    assert (config.ema_kimg, config.ema_rampup) == (pytest.approx(ema), 0.05)
    assert (config.lr_generator, config.lr_discriminator, config.mbstd_group) == (rate, rate, min(batch, 4))


# The official program's table: batch, gamma, kimg of the average, for 1, 2, 4 and 8 GPUs.
PUBLISHED = {
    256: [(16, 0.8192, 5), (32, 0.4096, 10), (64, 0.2048, 20), (64, 0.2048, 20)],
    512: [(8, 6.5536, 2.5), (16, 3.2768, 5), (32, 1.6384, 10), (64, 0.8192, 20)],
}


@pytest.mark.parametrize("resolution", PUBLISHED)
@pytest.mark.parametrize("power", range(4))
def test_the_batch_that_auto_advises_is_the_published_one_and_the_rest_follows(resolution, power):
    count = 2**power
    settings = TrainSettings(config="auto")
    usual = resolve(settings, resolution)
    batch, gamma, ema = PUBLISHED[resolution][power]
    assert advised_batch(settings, usual, count) == batch
    config = resolve(override(settings, batch=batch), resolution)
    assert (config.gamma, config.ema_kimg, config.mbstd_group) == (pytest.approx(gamma), pytest.approx(ema), 4)
    Processes(0, count).share(batch, config.mbstd_group)
    if usual.batch % (count * usual.mbstd_group):
        with pytest.raises(InputError, match=f"for {count} processes .* got {usual.batch}: ask for --batch {batch}$"):
            Processes(0, count).share(usual.batch, usual.mbstd_group, batch)


@given(st.sampled_from(["auto", "narrow", "paper256"]), st.sampled_from([32, 256, 1024, 2048]), st.integers(1, 32))
def test_an_advised_batch_can_always_be_dealt_out(name, resolution, count):
    settings = TrainSettings(config=name)
    config = resolve(settings, resolution)
    advised = advised_batch(settings, config, count)
    assert Processes(count - 1, count).share(advised, config.mbstd_group).count == count
    assert advised - config.mbstd_group * count < max(config.batch, auto_batch(resolution, count))


def test_several_gpus_train_what_the_paper_s_preset_says(repository):
    """The command in the docs, so that the run's next command finds the training done."""
    text = (repository / "docs" / "reproduce-the-paper.md").read_text()
    count, line = re.search(r"torchrun --nproc-per-node (\d+) -m atlas train (.*)", text).groups()
    options = dict(zip(words := line.split()[::2], line.split()[1::2], strict=True))
    assert all(word.startswith("--") for word in words)
    folder = RunFolder(Path("runs/paper"), "paper")
    assert (options["--data"], options["--out"]) == (str(folder.dataset), str(folder.train))
    preset = load_preset(repository / "presets" / "paper.toml")
    settings = override(preset.train, batch=int(options["--batch"]))
    fields = {f.name: f.type for f in dataclasses.fields(TrainSettings)}
    given = {k[2:].replace("-", "_"): v for k, v in options.items() if k not in ("--data", "--out", "--device")}
    typed = {k: {"int": int, "float": float, "str": str}[fields[k]](v) for k, v in given.items()}
    assert override(TrainSettings(), **typed) == settings
    assert advised_batch(settings, resolve(settings, preset.dataset.size), int(count)) == settings.batch


@pytest.mark.parametrize(
    ("name", "resolution", "expected"),
    [
        ("paper256", 256, (64, 8, 16384, 0.0025, 1.0, 20.0, 8)),
        ("paper512", 512, (64, 8, 32768, 0.0025, 0.5, 20.0, 8)),
        ("stylegan2", 1024, (32, 4, 32768, 0.002, 10.0, 10.0, 8)),
    ],
)
def test_papers(name, resolution, expected):
    c = resolve(TrainSettings(config=name), resolution)
    got = (c.batch, c.mbstd_group, c.channel_base, c.lr_generator, c.gamma, c.ema_kimg, c.mapping_layers)
    assert got == expected
    assert c.ema_rampup == 0
    assert (c.latent, c.channel_max, c.ada_kimg) == (512, 512, 500)


def test_what_is_given_wins():
    given = TrainSettings(config="auto", batch=12, channel_base=2048, channel_max=96, latent=80, gamma=3.0)
    config = resolve(given, 64)
    assert (config.batch, config.channel_base, config.channel_max, config.latent, config.gamma) == (
        12,
        2048,
        96,
        80,
        3.0,
    )
    assert config.channels == (96, 96, 96, 64, 32)
    assert config.generator().num_ws == 10


@pytest.mark.parametrize("resolution", [4, 12, 100])
def test_side_must_be_a_power_of_two(resolution):
    with pytest.raises(InputError, match=f"power of two from 8 up, got {resolution} px"):
        resolve(TrainSettings(), resolution)


def test_batch_must_fill_its_groups():
    with pytest.raises(InputError, match=r"train\.batch must be a multiple of 4 .* got 6"):
        resolve(TrainSettings(batch=6), 16)


def test_a_fixed_p_is_held_to_its_limit():
    with pytest.raises(InputError, match=r"train\.p must be at most train\.p_max, .* got 0\.95 and 0\.8"):
        resolve(TrainSettings(augment="fixed", p=0.95), 16)
    assert resolve(TrainSettings(augment="fixed", p=0.95, p_max=0.95), 16).p == 0.95
    assert resolve(TrainSettings(augment="ada", p=0.95), 16).p == 0.0  # not used, so that old presets stay valid


def test_iterations_cover_the_length():
    config = resolve(TrainSettings(batch=16), 16)
    assert [config.iterations(k) for k in (0.001, 0.016, 0.017, 1.6)] == [1, 1, 2, 100]


def test_planning_needs_no_torch():
    code = "import sys, pipeline.gan.config, pipeline.gan.stages; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
