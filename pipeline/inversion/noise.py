"""The noise maps that the projector optimises beside w, and what keeps them noise.

Every photograph has its own maps. Maps of one resolution lie in one tensor [N, K, R, R], K of them per photograph:
fewer, larger operations, and the optimiser and the regulariser treat each map by itself anyway.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
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
        values, gradients = regulariser_and_gradients(list(self.stacks.values()))
        return values, gradients


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
def regulariser_and_gradients(stacks: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
    """Return `noise_regulariser` of all maps of a batch, summed over each photograph's, and its gradients by them.

    The projector asks for it in every step. Maps of all resolutions climb the pyramid together, so that a level is a
    handful of operations however many there are, and the gradient is written out: a level gives c², c being the mean
    of m · (m shifted by one); by m that is 2c / R² · (m shifted by one + m shifted back).

    Args:
        stacks: maps [N, K, R, R], each of another resolution R, all powers of two times the smallest.

    Returns:
        [N], and a gradient for each stack, of its shape.
    """
    given = {stack.shape[-1]: stack for stack in stacks}
    side = max(given)
    levels = [given[side]]  # at each: the stack of this resolution, then the means of all that are on the level above
    while side > min(given) or side > _SMALLEST:
        parts = [_means_of_four(levels[-1])] if side > _SMALLEST else []
        side //= 2
        parts = ([given[side]] if side in given else []) + parts
        levels.append(torch.cat(parts, 1) if len(parts) > 1 else parts[0])
    total, gradients, below = stacks[0].new_zeros(len(stacks[0])), {}, None
    for level in reversed(levels):
        side = level.shape[-1]
        value, gradient = _correlation(level)
        total += value
        if below is not None and below.shape[1]:
            _add_to_all_four(below.div(4), gradient)
        own = given[side].shape[1] if side in given else 0
        gradients[side], below = gradient[:, :own], gradient[:, own:]
    return total, [gradients[stack.shape[-1]] for stack in stacks]


def _correlation(maps: Tensor) -> tuple[Tensor, Tensor]:
    """Return Σ c² of maps [N, K, R, R], c being the correlation with their neighbours along an axis; and its gradient.

    The sums are [N]; the gradient is by the maps.
    """
    size = maps.shape[-1] ** 2
    total, gradient = maps.new_zeros(len(maps)), torch.zeros_like(maps)
    neighbours = torch.empty_like(maps)
    for axis in (3, 2):
        _add_neighbours(maps, axis, neighbours)
        correlation = (maps * neighbours).sum((2, 3), keepdim=True).div_(2 * size)  # both neighbours: each pair twice
        total += correlation.square().sum((1, 2, 3))
        gradient.addcmul_(neighbours, correlation, value=2 / size)
    return total, gradient


def _add_neighbours(maps: Tensor, axis: int, out: Tensor) -> None:
    """Write the sum of the two neighbours along an axis, around the edge, of every number of maps into ``out``."""
    last = maps.shape[axis] - 1

    def at(tensor: Tensor, start: int, length: int) -> Tensor:
        return tensor.narrow(axis, start, length)

    torch.add(at(maps, 0, last - 1), at(maps, 2, last - 1), out=at(out, 1, last - 1))
    torch.add(at(maps, last, 1), at(maps, 1, 1), out=at(out, 0, 1))
    torch.add(at(maps, last - 1, 1), at(maps, 0, 1), out=at(out, last, 1))


def _means_of_four(maps: Tensor) -> Tensor:
    """Return the means over 2 × 2 numbers: [N, K, R, R] → [N, K, R/2, R/2], faster than PyTorch pools so few."""
    rows = maps[:, :, 0::2] + maps[:, :, 1::2]
    return rows[..., 0::2].add(rows[..., 1::2]).div_(4)


def _add_to_all_four(small: Tensor, large: Tensor) -> None:
    """Add each number of [N, K, R/2, R/2] to the 2 × 2 it is the mean of, in [N, K, R, R]."""
    wide = small.new_empty(*small.shape[:3], 2 * small.shape[3])
    wide[..., 0::2] = small
    wide[..., 1::2] = small
    large[:, :, 0::2] += wide
    large[:, :, 1::2] += wide
