"""StyleGAN2-ADA's projector (Karras et al. 2020): the w whose image has the photograph's features, found by Adam.

As published, but for two things. The features are any `FeatureFunction`; by default EfficientNet-Lite0's, since
VGG16 LPIPS is a download that holds code; and since these are coarser, the pixels themselves have a part in the loss
(`ProjectorSettings.pixel_weight`). And many photographs are optimised at once: the loss is a sum over
photographs and Adam works element by element, so each has in effect its own optimiser; with its own noise maps and
its own random stream its code is the same alone and in any batch.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.func import functional_call

from atlas.errors import InputError
from atlas.progress import Progress, silent
from pipeline.features import FeatureFunction, load_perceptual
from pipeline.gan import Generator
from pipeline.inversion.measures import l2
from pipeline.inversion.noise import NoiseMaps, noise_buffers
from pipeline.inversion.schedule import ProjectorSettings, learning_rate, w_noise_strength

__all__ = ["Projector", "ProjectorSettings", "Randomness", "WStatistics", "draw_randomness", "projection"]

_W_SEED = 123  # as published
_LARGEST = 256  # larger images are compared at this size


@dataclass(frozen=True)
class WStatistics:
    """Mean of w, [w_dim], and its standard deviation: the root of the mean squared distance from the mean, a scalar."""

    mean: Tensor
    std: float


@dataclass(frozen=True)
class Randomness:
    """All that chance decides in a projection, drawn beforehand.

    Attributes:
        maps: the first noise map of each photograph, [N, R, R], by the name of its buffer.
        w_noise: the unit noise added to w, [N, steps, w_dim].
    """

    maps: dict[str, Tensor]
    w_noise: Tensor


@dataclass(frozen=True)
class ProjectionStep:
    """One step of a batch: w after it, [N, w_dim], and the two parts of each photograph's loss before it, [N]."""

    w: Tensor
    distance: Tensor
    regulariser: Tensor


@torch.no_grad()
def w_statistics(generator: Generator, samples: int) -> WStatistics:
    """Measure w over ``samples`` latents drawn by NumPy's RandomState(123), without truncation."""
    z = np.random.RandomState(_W_SEED).randn(samples, generator.z_dim)
    w = generator.mapping(torch.from_numpy(z).to(generator.mapping.w_avg))[:, 0]
    mean = w.mean(0)
    return WStatistics(mean, float(((w - mean).square().sum() / samples).sqrt()))


def photo_stream(seed: int, name: str) -> np.random.Generator:
    """Return the random stream of one photograph: it depends on the seed and its name and on nothing else."""
    digest = hashlib.sha256(name.encode()).digest()
    return np.random.default_rng([seed, int.from_bytes(digest[:16], "big")])


def draw_randomness(
    generator: Generator, streams: Sequence[np.random.Generator], settings: ProjectorSettings
) -> Randomness:
    """Draw the noise of a batch, each photograph's from its own stream."""
    like = next(generator.synthesis.parameters())
    buffers = dict(noise_buffers(generator.synthesis))
    maps: dict[str, list[np.ndarray]] = {name: [] for name in buffers}
    w_noise = []
    for stream in streams:
        for name, r in buffers.items():
            maps[name].append(stream.standard_normal((r, r), dtype=np.float32))
        w_noise.append(stream.standard_normal((settings.steps, generator.w_dim), dtype=np.float32))
    return Randomness(
        {name: torch.from_numpy(np.stack(drawn)).to(like) for name, drawn in maps.items()},
        torch.from_numpy(np.stack(w_noise)).to(like),
    )


def projection(
    generator: Generator,
    features: FeatureFunction,
    targets: Tensor,
    statistics: WStatistics,
    randomness: Randomness,
    settings: ProjectorSettings,
) -> Iterator[ProjectionStep]:
    """Project a batch of photographs, yielding every step.

    Args:
        generator: in eval mode; its parameters need no gradients.
        features: differentiable; images larger than 256 px are shrunk before.
        targets: the photographs [N, 3, H, W] in [-1, 1], H the generator's resolution.
        statistics: of the generator's w; the search starts at the mean.
        randomness: of these photographs.
        settings: numbers and weights.

    Yields:
        ``settings.steps`` steps. The optimised noise maps are given up, as in the original.
    """
    n = len(targets)
    w = statistics.mean.to(targets).expand(n, 1, -1).clone().requires_grad_()
    maps = NoiseMaps.stack({name: m.clone() for name, m in randomness.maps.items()})
    for stack in maps.stacks.values():
        stack.requires_grad_()
    adam = torch.optim.Adam([w, *maps.stacks.values()], betas=(0.9, 0.999), eps=1e-8)
    targets = _shrunk(targets)
    with torch.no_grad():
        wanted = features(targets)
    for step in range(settings.steps):
        adam.param_groups[0]["lr"] = learning_rate(step, settings)
        strength = statistics.std * w_noise_strength(step, settings)
        noisy = w + strength * randomness.w_noise[:, step, None]
        codes = (noisy.expand(-1, generator.num_ws, -1),)
        images = _shrunk(functional_call(generator.synthesis, maps.buffers(), codes, {"noise_mode": "const"}))
        distance = (features(images) - wanted).square().sum(1) + settings.pixel_weight * l2(images, targets)
        regulariser = maps.regulariser()
        adam.zero_grad()
        (distance + settings.noise_weight * regulariser).sum().backward()
        adam.step()
        maps.normalise()
        yield ProjectionStep(w.detach()[:, 0].clone(), distance.detach(), regulariser.detach())


def _shrunk(images: Tensor) -> Tensor:
    if images.shape[-1] <= _LARGEST:
        return images
    return F.interpolate(images, size=(_LARGEST, _LARGEST), mode="area")


@dataclass
class Projector:
    """Finds the latent codes of photographs by optimisation, a batch at a time.

    Args:
        settings: as published, unless told otherwise.
        seed: of the photographs' random streams.
        features: of the perceptual loss; EfficientNet-Lite0's when absent.

    Example:
        >>> Projector(ProjectorSettings(steps=100), seed=1).invert(G, images, names)   # [N, num_ws, w_dim]
    """

    settings: ProjectorSettings = field(default_factory=ProjectorSettings)
    seed: int = 1
    features: FeatureFunction | None = None

    def invert(self, generator: Generator, images: Tensor, names: Sequence[str], progress: Progress = silent) -> Tensor:
        """Return the code of each photograph, one w broadcast to all layers.

        Args:
            generator: in eval mode.
            images: [N, 3, H, W] in [-1, 1], H the generator's resolution.
            names: a name per photograph, which with the seed decides its random stream.
            progress: told of the optimiser's steps.

        Returns:
            [N, num_ws, w_dim] float32.

        Raises:
            InputError: the images do not have the generator's size.
        """
        size = generator.img_resolution
        if tuple(images.shape[1:]) != (generator.img_channels, size, size):
            raise InputError(
                f"photographs must be {size} × {size} as the generator's images are, "
                f"got {images.shape[3]} × {images.shape[2]}: make the dataset with --size {size}"
            )
        like = next(generator.synthesis.parameters())
        features = self.features or load_perceptual(like.device)
        randomness = draw_randomness(generator, [photo_stream(self.seed, name) for name in names], self.settings)
        statistics = w_statistics(generator, self.settings.w_samples)
        w = statistics.mean.expand(len(images), -1)
        for done, step in enumerate(
            projection(generator, features, images.to(like), statistics, randomness, self.settings)
        ):
            w = step.w
            progress(done + 1, self.settings.steps)
        return w[:, None].expand(-1, generator.num_ws, -1).float()
