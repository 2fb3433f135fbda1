"""Training configurations: every hyperparameter of a run, resolved from the preset's ``[train]`` and the resolution.

The preset says little ("auto", a batch, a length); `resolve` fills in the rest the way the official training program
does, so that nothing about a run stays implicit. This module imports no PyTorch.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

from atlas.errors import InputError
from atlas.preset import TrainSettings
from pipeline.gan.architecture import (
    DiscriminatorArchitecture,
    GeneratorArchitecture,
    channel_widths,
)

FP16_RESOLUTIONS = 4  # float16 is used for so many of the highest resolutions
FP16_CLAMP = 256.0  # and activations are kept within ±256 there


@dataclass(frozen=True)
class TrainConfig:
    """Everything that decides a training run, beside the dataset and the seed. Lengths are in thousands of images.

    Attributes:
        resolution: side of the images, a power of two.
        batch: images per iteration.
        channel_base, channel_max: width at resolution r is min(channel_base // r, channel_max).
        latent: size of z and w.
        mapping_layers: fully connected layers from z to w.
        mbstd_group: images per group of the minibatch standard deviation.
        lr_generator, lr_discriminator: Adam's learning rates, before the correction for lazy regularisation.
        beta2, adam_epsilon: Adam's other numbers (β1 is 0).
        gamma: weight of R1.
        r1_interval: R1 every so many iterations.
        pl_weight, pl_decay, pl_shrink: path length: weight, decay of its running mean, division of the batch.
        pl_interval: path length every so many iterations; 0 for never.
        style_mixing: probability that a batch is rendered from two latents.
        ema_kimg: half-life of the averaged generator.
        ema_rampup: the half-life is at most this share of the training so far; 0 for no limit.
        augment: "ada", "fixed" or "none".
        ada_target: what the share of confident judgements is steered to.
        ada_interval: p is adjusted every so many iterations.
        ada_kimg: p needs at least this to go from 0 to 1.
        p_max: p never exceeds it.
        mirror: mirrored photographs count as further photographs.
        precision: "fp32", "bf16", "fp16", or "fp64" for checks.
        snapshot_kimg: a checkpoint and a grid of samples every so often.
        tick_kimg: a line of statistics every so often.
        p: the probability of the augmentation where it is "fixed".
        blit, geometry, colour: which groups of the augmentation are used.
        init: fingerprint of the networks that training begins from; empty for random ones.
    """

    resolution: int
    batch: int
    channel_base: int
    channel_max: int
    latent: int
    mapping_layers: int
    mbstd_group: int
    lr_generator: float
    lr_discriminator: float
    gamma: float
    ema_kimg: float
    ema_rampup: float
    snapshot_kimg: float
    tick_kimg: float
    augment: str
    ada_target: float
    ada_kimg: float
    p_max: float
    mirror: bool
    precision: str
    ada_interval: int = 4
    r1_interval: int = 16
    pl_interval: int = 4
    pl_weight: float = 2.0
    pl_decay: float = 0.01
    pl_shrink: int = 2
    style_mixing: float = 0.9
    beta2: float = 0.99
    adam_epsilon: float = 1e-8
    p: float = 0.0
    blit: bool = True
    geometry: bool = True
    colour: bool = True
    init: str = ""

    def __post_init__(self) -> None:
        if self.resolution < 8 or self.resolution & (self.resolution - 1):
            raise InputError(
                f"training needs images whose side is a power of two from 8 up, got {self.resolution} px: "
                "make the dataset again with such a --size"
            )
        if self.batch % min(self.mbstd_group, self.batch):
            raise InputError(
                f"train.batch must be a multiple of {self.mbstd_group} (the minibatch group), got {self.batch}"
            )

    @property
    def channels(self) -> tuple[int, ...]:
        """Return the width at 4, 8, … resolution."""
        return channel_widths(self.resolution, self.channel_base, self.channel_max)

    @property
    def conv_clamp(self) -> float | None:
        """Return the limit on activations: float16 needs one."""
        return FP16_CLAMP if self.precision == "fp16" else None

    def generator(self) -> GeneratorArchitecture:
        """Return the generator that is trained: unconditional, RGB."""
        return GeneratorArchitecture(
            z_dim=self.latent,
            c_dim=0,
            w_dim=self.latent,
            img_resolution=self.resolution,
            img_channels=3,
            mapping_layers=self.mapping_layers,
            channels=self.channels,
            conv_clamp=self.conv_clamp,
        )

    def discriminator(self) -> DiscriminatorArchitecture:
        """Return the discriminator that is trained beside it."""
        return DiscriminatorArchitecture(
            c_dim=0,
            img_resolution=self.resolution,
            img_channels=3,
            channels=self.channels,
            mbstd_group=self.mbstd_group,
            conv_clamp=self.conv_clamp,
        )

    def iterations(self, kimg: float) -> int:
        """Return how many iterations see at least ``kimg`` thousand images; at least 1."""
        return max(1, math.ceil(round(kimg * 1000, 6) / self.batch))


@dataclass(frozen=True)
class _Recipe:
    """A configuration before the resolution is known; None stands for a rule in `resolve`."""

    batch: int | None
    mbstd_group: int
    channel_scale: float | None
    mapping_layers: int
    lr: float | None
    gamma: float | None
    ema_kimg: float | None
    ema_rampup: float
    channel_max: int = 512
    latent: int = 512
    ada_kimg: float = 500.0
    pl_interval: int = 4


# The official four, as `stylegan2-ada-pytorch` trains them, and one for processors without a GPU.
_RECIPES = {
    "auto": _Recipe(None, 4, None, 2, None, None, None, 0.05),
    "paper256": _Recipe(64, 8, 0.5, 8, 0.0025, 1.0, 20.0, 0.0),
    "paper512": _Recipe(64, 8, 1.0, 8, 0.0025, 0.5, 20.0, 0.0),
    "stylegan2": _Recipe(32, 4, 1.0, 8, 0.002, 10.0, 10.0, 0.0),
    # Short runs of small networks: many small steps, a short average, and no path-length regularisation, whose
    # second derivatives cost time. Chosen by eye on the calibration street at 32 px, for 28 thousand images.
    "narrow": _Recipe(
        8, 4, 1 / 16, 2, 0.004, None, 1.0, 0.05, channel_max=64, latent=64, ada_kimg=100.0, pl_interval=0
    ),
}


def auto_batch(resolution: int, processes: int = 1) -> int:
    """Return the batch of "auto" as published: 4096 / resolution for each process, at most 32, and 64 for all."""
    return max(min(processes * min(4096 // resolution, 32), 64), processes)


def advised_batch(settings: TrainSettings, config: TrainConfig, processes: int) -> int:
    """Return the batch to ask for where several processes train: as published for so many, in whole groups for each.

    Of "auto" the published one grows with the processes; of the others it is one number. It is rounded up to a multiple
    of the processes times the minibatch group, which is what can be dealt out (`Processes.share`).
    """
    published = auto_batch(config.resolution, processes) if settings.config == "auto" else config.batch
    return math.ceil(published / (processes * config.mbstd_group)) * processes * config.mbstd_group


def resolve(settings: TrainSettings, resolution: int) -> TrainConfig:
    """Fill in every hyperparameter.

    The rules that "auto" and "narrow" follow: the batch of `auto_batch` for one process ("auto"; it does not grow with
    the processes, so that these never change what is trained); R1 weight 0.0002 · resolution² / batch; half-life of the
    averaged generator batch · 10 / 32 thousand images.

    Args:
        settings: the preset's ``[train]``; 0 stands for "as the configuration has it".
        resolution: side of the dataset's images.

    Raises:
        InputError: the resolution or the batch does not suit StyleGAN2, or a fixed p is beyond its limit.
    """
    if settings.augment == "fixed" and settings.p > settings.p_max:
        raise InputError(
            f"train.p must be at most train.p_max, which limits it, got {settings.p:g} and {settings.p_max:g}: "
            "raise p_max too, if that is meant"
        )
    recipe = _RECIPES[settings.config]
    batch = settings.batch or recipe.batch or auto_batch(resolution)
    scale = recipe.channel_scale if recipe.channel_scale is not None else (1.0 if resolution >= 512 else 0.5)
    lr = recipe.lr if recipe.lr is not None else (0.002 if resolution >= 1024 else 0.0025)
    gamma = recipe.gamma if recipe.gamma is not None else 0.0002 * resolution**2 / batch
    return TrainConfig(
        resolution=resolution,
        batch=batch,
        channel_base=settings.channel_base or int(scale * 32768),
        channel_max=settings.channel_max or recipe.channel_max,
        latent=settings.latent or recipe.latent,
        mapping_layers=recipe.mapping_layers,
        mbstd_group=recipe.mbstd_group,
        lr_generator=lr,
        lr_discriminator=lr,
        gamma=settings.gamma or gamma,
        ema_kimg=recipe.ema_kimg if recipe.ema_kimg is not None else batch * 10 / 32,
        ema_rampup=recipe.ema_rampup,
        snapshot_kimg=settings.snapshot_kimg,
        tick_kimg=min(4.0, settings.snapshot_kimg),
        augment=settings.augment,
        ada_target=settings.target,
        ada_kimg=recipe.ada_kimg,
        pl_interval=recipe.pl_interval,
        p_max=settings.p_max,
        mirror=settings.mirror,
        precision=settings.precision,
        p=settings.p if settings.augment == "fixed" else 0.0,
        blit=settings.blit,
        geometry=settings.geometry,
        colour=settings.colour,
    )


def transferred(
    config: TrainConfig,
    settings: TrainSettings,
    generator: GeneratorArchitecture,
    discriminator: DiscriminatorArchitecture | None,
    init: str,
    file: str,
) -> TrainConfig:
    """Let training begin from networks that there are: it takes over their widths, latent and depth.

    As in the official program, ADA may then move five times as fast (``ada_kimg`` is at most 100), and the averaged
    generator follows slowly from the start (``ema_rampup`` 0).

    Args:
        config: as resolved for random networks.
        settings: the preset's ``[train]``; a width or latent that is given there must be the networks'.
        generator, discriminator: the networks' architectures; None where there is no discriminator.
        init: fingerprint of the networks.
        file: where they come from, for errors.

    Raises:
        InputError: networks of another resolution, with a condition, or otherwise not of the kind trained here.
    """
    faults = []
    if generator.img_resolution != config.resolution:
        faults.append(f"it makes images of {generator.img_resolution} px, the dataset has {config.resolution} px")
    if generator.c_dim:
        faults.append(f"it has a condition of {generator.c_dim} numbers, training has none")
    if generator.img_channels != 3:
        faults.append(f"it makes images of {generator.img_channels} channels, the dataset has 3")
    if generator.z_dim != generator.w_dim:
        faults.append(f"its z has {generator.z_dim} numbers and its w {generator.w_dim}, they must be as many")
    base, most = generator.channels[-1] * generator.img_resolution, max(generator.channels)
    if channel_widths(generator.img_resolution, base, most) != generator.channels:
        faults.append(f"its widths {list(generator.channels)} follow no --channel-base and --channel-max")
    for name, asked, there in (
        ("channel_base", settings.channel_base, base),
        ("channel_max", settings.channel_max, most),
        ("latent", settings.latent, generator.z_dim),
    ):
        if asked not in (0, there):
            faults.append(f"its {name} is {there}, {asked} is asked for")
    if faults:
        raise InputError(f"training cannot begin from {file}: {'; '.join(faults)}")
    config = dataclasses.replace(
        config,
        channel_base=base,
        channel_max=most,
        latent=generator.z_dim,
        mapping_layers=generator.mapping_layers,
        ada_kimg=min(config.ada_kimg, 100.0),
        ema_rampup=0.0,
        init=init,
    )
    if discriminator is not None:
        wanted = dataclasses.replace(
            config.discriminator(), conv_clamp=discriminator.conv_clamp, mbstd_group=discriminator.mbstd_group
        )
        if wanted != discriminator:
            raise InputError(
                f"the discriminator in {file} does not match its generator: {discriminator.differences(wanted)}"
            )
    return config
