"""Configurations against the official tables, and what they refuse."""

import subprocess
import sys

import pytest

from atlas.errors import InputError
from atlas.preset import TrainSettings
from pipeline.gan.config import resolve


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


def test_iterations_cover_the_length():
    config = resolve(TrainSettings(batch=16), 16)
    assert [config.iterations(k) for k in (0.001, 0.016, 0.017, 1.6)] == [1, 1, 2, 100]


def test_planning_needs_no_torch():
    code = "import sys, pipeline.gan.config, pipeline.gan.stages; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
