"""The noise maps that the projector optimises beside w, and what keeps them noise.

Every photograph has its own maps. Maps of one resolution lie in one tensor [N, K, R, R], K of them per photograph:
fewer, larger operations, and the optimiser and the regulariser treat each map by itself anyway.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from pipeline.gan import Generator

_SUFFIX = ".noise_const"
_SMALLEST = 8  # the regulariser's pyramid stops here


@dataclass(frozen=True)
class NoiseMaps:
    """The noise maps of a batch.

    Attributes:
        names: the generator's noise buffers, in its order, with each one's resolution.
        stacks: by resolution, [N, K, R, R]; the K maps in the order of ``names``.
    """

    names: Mapping[str, int]
    stacks: dict[int, Tensor]

    @classmethod
    def stack(cls, maps: Mapping[str, Tensor]) -> NoiseMaps:
        """Gather maps [N, R, R], given by the name of their buffer."""
        names = {name: m.shape[-1] for name, m in maps.items()}
        resolutions = dict.fromkeys(names.values())
        stacks = {r: torch.stack([m for m in maps.values() if m.shape[-1] == r], 1) for r in resolutions}
        return cls(names, stacks)

    def buffers(self) -> dict[str, Tensor]:
        """Return a map [N, 1, R, R] for each noise buffer, by name."""
        turns = {r: iter(stack.split(1, 1)) for r, stack in self.stacks.items()}
        return {name: next(turns[r]) for name, r in self.names.items()}

    @torch.no_grad()
    def normalise(self) -> None:
        """Bring every map to mean 0 and mean square 1, in place."""
        for stack in self.stacks.values():
            stack.sub_(stack.mean((2, 3), keepdim=True))
            stack.mul_(stack.square().mean((2, 3), keepdim=True).rsqrt())

    def regulariser(self) -> tuple[Tensor, list[Tensor]]:
        """Return how far each photograph's maps are from white noise, summed over its maps: [N], and its gradients.

        The gradients are by the stacks, in their order.
        """
        values, gradients = zip(*map(regulariser_and_gradient, self.stacks.values()), strict=True)
        return torch.stack([value.sum(1) for value in values]).sum(0), list(gradients)


@torch.no_grad()
def synthesise(generator: Generator, w: Tensor, noise: Mapping[str, Tensor] | None = None) -> Tensor:
    """Render codes with noise maps of their own, as the projector saw them when it optimised both.

    Args:
        generator: in eval mode.
        w: [N, num_ws, w_dim].
        noise: maps [N, R, R] by the name of their buffer, such as `Latents.noise` holds; None for the generator's own
            constant noise, which is what atlases are rendered with.

    Returns:
        [N, 3, H, W], nominally in [-1, 1].
    """
    if not noise:
        return generator.synthesis(w, noise_mode="const")
    like = next(generator.synthesis.parameters())
    maps = {name: m.to(like)[:, None] for name, m in noise.items()}
    images: Tensor = functional_call(generator.synthesis, maps, (w,), {"noise_mode": "const"})
    return images


def noise_buffers(synthesis: nn.Module) -> Iterator[tuple[str, int]]:
    """Yield the name and resolution of each noise buffer of a synthesis network, in its own order."""
    for name, buffer in synthesis.named_buffers():
        if name.endswith(_SUFFIX):
            yield name, buffer.shape[-1]


def noise_regulariser(maps: Tensor) -> Tensor:
    """Return the squared autocorrelation of each map with itself shifted by one, over a pyramid of its means.

    Args:
        maps: [N, K, R, R].

    Returns:
        [N, K]: 0 for perfectly white noise. Karras et al. 2020, appendix D.
    """
    total = torch.zeros(maps.shape[:2], dtype=maps.dtype, device=maps.device)
    while True:
        for axis in (3, 2):
            total = total + (maps * maps.roll(1, axis)).mean((2, 3)).square()
        if maps.shape[-1] <= _SMALLEST:
            return total
        maps = F.avg_pool2d(maps, 2)


@torch.no_grad()
def regulariser_and_gradient(maps: Tensor) -> tuple[Tensor, Tensor]:
    """Return `noise_regulariser` of maps [N, K, R, R], and its gradient by them, [N, K, R, R].

    A level of the pyramid gives c², c being the mean of m · (m shifted by one); by m that is 2c / R² · (m shifted by
    one + m shifted back). Written out it takes half the time of what automatic differentiation makes of the same sum,
    and the projector asks for it in every step.
    """
    levels = [maps]
    while levels[-1].shape[-1] > _SMALLEST:
        levels.append(F.avg_pool2d(levels[-1], 2))
    total, gradient = maps.new_zeros(*maps.shape[:2], 1, 1), torch.zeros_like(levels[-1])
    for level in reversed(levels):
        if level.shape != gradient.shape:  # each number of the coarser level is the mean of four
            gradient = F.interpolate(gradient, scale_factor=2, mode="nearest").div_(4)
        for axis in (3, 2):
            before = level.roll(1, axis)
            correlation = (level * before).mean((2, 3), keepdim=True)
            total += correlation.square()
            gradient.addcmul_(before.add_(level.roll(-1, axis)), correlation, value=2 / level.shape[-1] ** 2)
    return total[:, :, 0, 0], gradient
