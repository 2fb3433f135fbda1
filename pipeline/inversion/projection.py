"""The projector's optimisation: a batch of photographs, each on its own path (Karras et al. 2020, appendix D)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.func import functional_call

from pipeline.features import FeatureFunction
from pipeline.gan import Generator
from pipeline.inversion.adam import RowAdam
from pipeline.inversion.measures import l2
from pipeline.inversion.noise import NoiseMaps, noise_buffers
from pipeline.inversion.schedule import Clocks, ProjectorSettings

_W_SEED = 123  # as published
_LARGEST = 256  # larger images are compared at this size
_DRAWN = 32  # steps whose noise is drawn together: bounds the memory


@dataclass(frozen=True)
class WStatistics:
    """Mean of w, [w_dim], and its standard deviation: the root of the mean squared distance from the mean, a scalar."""

    mean: Tensor
    std: float


@dataclass(frozen=True)
class Randomness:
    """All that chance decides in a projection.

    Attributes:
        maps: the first noise map of each photograph, [N, R, R], by the name of its buffer.
        w_noise: the unit noise added to w at each step, [N, 1, w_dim], or [N, num_ws, w_dim] in W+.
    """

    maps: dict[str, Tensor]
    w_noise: Iterable[Tensor]


@dataclass(frozen=True)
class ProjectionStep:
    """One step of those photographs of a batch that have not finished before.

    Attributes:
        rows: [n] which photographs of the batch these are.
        w: their codes after the step, [n, 1, w_dim], or [n, num_ws, w_dim] in W+.
        maps: their noise maps after it.
        distance: [n] the images' part of the loss before it.
        regulariser: [n] the noise maps' part, unweighted.
        finished: [n] bool, whose last step this was.
    """

    rows: np.ndarray
    w: Tensor
    maps: NoiseMaps
    distance: Tensor
    regulariser: Tensor
    finished: np.ndarray


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
    """Draw the noise of a batch, each photograph's from its own stream: the maps now, the noise on w as it is used."""
    like = next(generator.synthesis.parameters())
    buffers = dict(noise_buffers(generator.synthesis))
    maps: dict[str, list[np.ndarray]] = {name: [] for name in buffers}
    for stream in streams:
        for name, r in buffers.items():
            maps[name].append(stream.standard_normal((r, r), dtype=np.float32))
    stacked = {name: torch.from_numpy(np.stack(drawn)).to(like) for name, drawn in maps.items()}
    return Randomness(stacked, _w_noise(streams, settings.steps, (_layers(generator, settings), generator.w_dim), like))


def _w_noise(
    streams: Sequence[np.random.Generator], steps: int, shape: tuple[int, int], like: Tensor
) -> Iterator[Tensor]:
    for start in range(0, steps, _DRAWN):
        count = min(_DRAWN, steps - start)
        drawn = np.stack([stream.standard_normal((count, *shape), dtype=np.float32) for stream in streams], 1)
        yield from torch.from_numpy(drawn).to(like)


def _layers(generator: Generator, settings: ProjectorSettings) -> int:
    """Return how many codes a photograph has."""
    return generator.num_ws if settings.space == "w+" else 1


class _Paths:
    """What moves: the codes and noise maps of the photographs that have not finished, and what they are to look like.

    Attributes:
        rows: [n] which photographs of the batch these are.
        w: [n, 1 or num_ws, w_dim], a leaf that asks for gradients, as the maps are.
    """

    def __init__(self, w: Tensor, maps: NoiseMaps, targets: Tensor, features: FeatureFunction) -> None:
        self.rows = np.arange(len(w))
        self.w, self.maps = w.requires_grad_(), maps
        self.targets = targets.contiguous(memory_format=torch.channels_last)  # as the images will lie
        for stack in maps.stacks.values():
            stack.requires_grad_()
        with torch.no_grad():
            self.wanted = features(targets)
        self._adam = RowAdam(self._moving())

    def descend(self, distance: Tensor, noise_weight: float, rates: np.ndarray) -> Tensor:
        """Take one step of Adam down distance + weight · regulariser; return the regulariser before it, [n]."""
        moving = self._moving()
        regulariser, whiter = self.maps.regulariser()
        by_codes, *by_maps = torch.autograd.grad(distance.sum(), moving)
        gradients = [by_codes, *(g.add_(r, alpha=noise_weight) for g, r in zip(by_maps, whiter, strict=True))]
        self._adam.step(moving, gradients, torch.from_numpy(rates).to(self.w))
        self.maps.normalise()
        return regulariser

    def keep(self, rows: np.ndarray) -> None:
        """Go on with some photographs only: [n] bool."""
        chosen = torch.from_numpy(np.flatnonzero(rows)).to(self.w.device)
        self.rows = self.rows[rows]
        self.w = self.w.detach()[chosen].requires_grad_()
        stacks = {r: stack.detach()[chosen].requires_grad_() for r, stack in self.maps.stacks.items()}
        self.maps = NoiseMaps(self.maps.names, stacks)
        self.targets, self.wanted = self.targets[chosen], self.wanted[chosen]
        self._adam.keep(chosen)

    def _moving(self) -> list[Tensor]:
        return [self.w, *self.maps.stacks.values()]


def projection(
    generator: Generator,
    features: FeatureFunction,
    targets: Tensor,
    statistics: WStatistics,
    randomness: Randomness,
    settings: ProjectorSettings,
    start: Tensor | None = None,
) -> Iterator[ProjectionStep]:
    """Project a batch of photographs, yielding every step until the last one has finished.

    The loss is a sum over photographs, so the gradient of each one's code and maps is its own.

    Args:
        generator: in eval mode; its parameters need no gradients.
        features: differentiable; images larger than 256 px are shrunk before.
        targets: the photographs [N, 3, H, W] in [-1, 1], H the generator's resolution.
        statistics: of the generator's w.
        randomness: of these photographs.
        settings: numbers and weights.
        start: where the search starts, [N, num_ws, w_dim]; in W at the mean over layers. None: at the mean of w.

    Yields:
        ``settings.steps`` steps, fewer if ``patience`` lets every photograph finish before.
    """
    maps = NoiseMaps.stack({name: m.clone() for name, m in randomness.maps.items()})
    paths = _Paths(_first_codes(generator, targets, statistics, settings, start), maps, _shrunk(targets), features)
    clocks = Clocks(len(targets), settings)
    for drawn in randomness.w_noise:
        strengths = torch.from_numpy(statistics.std * clocks.w_noise_strengths()).to(paths.w)[:, None, None]
        noisy = paths.w + strengths * (drawn if len(paths.rows) == len(drawn) else drawn[paths.rows])
        codes = (noisy.expand(-1, generator.num_ws, -1),)
        images = _shrunk(functional_call(generator.synthesis, paths.maps.buffers(), codes, {"noise_mode": "const"}))
        distance = (features(images) - paths.wanted).square().sum(1)
        distance = distance + settings.pixel_weight * l2(_pixels(images), _pixels(paths.targets))
        regulariser = paths.descend(distance, settings.noise_weight, clocks.learning_rates())
        distance = distance.detach()
        finished = clocks.advance(distance)
        yield ProjectionStep(paths.rows, paths.w.detach().clone(), paths.maps, distance, regulariser, finished)
        if finished.all():
            return
        if finished.any():
            clocks.keep(~finished)
            paths.keep(~finished)


def _first_codes(
    generator: Generator,
    targets: Tensor,
    statistics: WStatistics,
    settings: ProjectorSettings,
    start: Tensor | None,
) -> Tensor:
    """Return where the search starts: [N, 1 or num_ws, w_dim]."""
    layers = _layers(generator, settings)
    if start is None:
        return statistics.mean.to(targets).expand(len(targets), layers, -1).clone()
    start = start.to(targets)
    return start.clone() if layers > 1 else start.mean(1, keepdim=True)


def _pixels(images: Tensor) -> Tensor:
    """Return [N, C, H, W] as [N, H, W, C], as which the generator's images lie in memory.

    So their gradient comes in this order too. In the other one it would slow down the generator's backward pass.
    """
    return images.permute(0, 2, 3, 1)


def _shrunk(images: Tensor) -> Tensor:
    if images.shape[-1] <= _LARGEST:
        return images
    return F.interpolate(images, size=(_LARGEST, _LARGEST), mode="area")
