"""What an encoder's training is resolved to, and the schedule of progressive training."""

import pytest

from atlas.errors import InputError
from atlas.preset import EncoderSettings, find_preset, load_preset
from pipeline.gan.architecture import GeneratorArchitecture
from pipeline.inversion.encoders.config import completed, resolve

AT_256 = GeneratorArchitecture(512, 0, 512, 256, 3, 2, (512, 512, 512, 512, 256, 128, 64))
AT_32 = GeneratorArchitecture(64, 0, 64, 32, 3, 2, (64, 64, 64, 32))


def test_full_is_as_published():
    config = resolve("e4e", EncoderSettings(backbone="full"), AT_256)
    arch = config.architecture
    assert (arch.backbone, arch.heads, arch.progressive, arch.size, arch.num_ws) == (
        "ir-se50",
        "pyramid",
        True,
        256,
        14,
    )
    assert (config.batch, config.generated, config.optimizer, config.lr) == (8, 0, "ranger", 1e-4)
    assert (config.beta1, config.beta2, config.epsilon) == (0.95, 0.999, 1e-5)
    assert (config.l2, config.perceptual, config.similarity_weight) == (1.0, 0.8, 0.5)
    assert (config.delta, config.adversarial, config.lr_discriminator) == (2e-4, 0.1, 2e-5)
    assert (config.r1, config.r1_interval, config.pool, config.average) == (10.0, 16, 50, 0)


def test_left_open_the_steps_are_those_of_the_configuration():
    assert completed(EncoderSettings(backbone="full")).steps == 200_000
    assert completed(EncoderSettings()).steps == 2_000
    assert completed(EncoderSettings(backbone="full", steps=7)).steps == 7


@pytest.mark.parametrize("backbone", ["narrow", "full"])
@pytest.mark.parametrize("variant", ["e4e", "psp"])
def test_unless_told_otherwise_a_training_reaches_the_last_stage(backbone, variant):
    settings = completed(EncoderSettings(backbone=backbone, variant=variant))
    config = resolve("restyle", settings, AT_256)
    assert config.stage(settings.steps - 1) == config.architecture.last_stage


@pytest.mark.parametrize("method", ["e4e", "restyle"])
def test_the_papers_preset_trains_and_projects_as_published(method):
    preset = load_preset(find_preset("paper"))
    config, inversion = resolve(method, preset.encoder, AT_256), preset.invert
    assert config.architecture.backbone == {"e4e": "ir-se50", "restyle": "resnet34"}[method]
    assert completed(preset.encoder).steps == 200_000
    assert (config.batch, config.generated, config.optimizer, config.lr, config.l2) == (8, 0, "ranger", 1e-4, 1.0)
    assert (config.mirror, config.average, config.architecture.progressive) == (True, 0, True)
    assert (inversion.steps, inversion.space, inversion.start, inversion.patience) == (1000, "w", "", 0)
    assert inversion.pixel_weight == 0


def test_the_published_schedule():
    config = resolve("e4e", EncoderSettings(backbone="full"), AT_256)
    begins = [next(step for step in range(0, 60_000, 1000) if config.stage(step) >= stage) for stage in range(14)]
    assert begins == [0, *range(20_000, 46_000, 2_000)]
    assert config.stage(19_999) == 0
    assert config.stage(10**6) == 13


def test_narrow_follows_it_four_hundred_times_faster_however_long_it_trains():
    for steps in (100, 10_000):
        config = resolve("e4e", EncoderSettings(steps=steps), AT_32)
        assert [config.stage(s) for s in (0, 49, 50, 54, 55, 10**6)] == [0, 0, 1, 1, 2, 7]


def test_restyle_in_both_variants():
    psp = resolve("restyle", EncoderSettings(backbone="full", variant="psp"), AT_256)
    assert (psp.architecture.backbone, psp.architecture.heads, psp.architecture.iterations) == ("resnet34", "simple", 5)
    assert psp.architecture.in_channels == 6
    assert psp.stage(0) == 13  # every style for itself from the start
    assert resolve("restyle", EncoderSettings(variant="e4e"), AT_256).stage(0) == 0


def test_any_generator():
    arch = resolve("e4e", EncoderSettings(), AT_32).architecture
    assert (arch.num_ws, arch.w_dim, arch.size) == (8, 64, 32)
    assert resolve("e4e", EncoderSettings(), AT_256).architecture.size == 128


def test_shares_are_rounded():
    assert resolve("e4e", EncoderSettings(batch=10, generated=0.33), AT_32).generated == 3


@pytest.mark.parametrize("backbone", ["narrow", "full"])
def test_where_the_user_has_moco_it_is_the_similarity(backbone):
    settings = EncoderSettings(backbone=backbone, moco="moco.pth.tar")
    assert resolve("e4e", settings, AT_256).similarity == completed(settings).similarity == "moco"
    assert completed(EncoderSettings()).similarity == "default"  # as records of stages have it
    for other in ("off", "efficientnet-lite0"):
        with pytest.raises(InputError, match=rf'similarity is "{other}".*encoder\.moco.*leave one of them out'):
            resolve("e4e", EncoderSettings(similarity=other, moco="moco.pth.tar"), AT_256)


def test_moco_without_its_file_is_refused():
    with pytest.raises(InputError, match=r"encoder\.moco"):
        resolve("e4e", EncoderSettings(similarity="moco"), AT_32)
    with pytest.raises(InputError, match="projector"):
        resolve("projector", EncoderSettings(), AT_32)
