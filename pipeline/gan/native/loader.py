"""Loads the compiled operators and checks them against plain PyTorch before anything rests on them."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Callable
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from pipeline.gan.native.build import BuildError, Recipe, build, cpu_recipe, cuda_recipe

# 0: the plain versions run everywhere, and nothing is compiled. 1: native ones everywhere. Unset: on processors, where
# it was measured that they win; those for GPUs have been compiled and not yet been run.
SWITCH = "ATLAS_NATIVE"
TOLERANCE = 1e-4  # of the self-check, relative to the largest value of a result, in float32
_log = logging.getLogger(__name__)
_given: Counter[str] = Counter()


def operators(device: torch.device) -> Any | None:
    """Return the compiled operators for a device, `torch.ops.atlas_native`; None where the plain ones are to be used.

    The first call compiles them if need be, which takes half a minute, and checks them. If they are not to be had, a
    line on standard error says why, once.
    """
    native = _operators(device.type)
    if native is not None:
        _given[device.type] += 1
    return native


def times_given(device: torch.device) -> int:
    """Return how often `operators` has given compiled ones for such a device: if more often now, they have run."""
    return _given[device.type]


@cache
def _operators(kind: str) -> Any | None:
    wanted = os.environ.get(SWITCH)
    if kind not in _KINDS or wanted == "0" or (kind != "cpu" and wanted != "1"):
        return None
    if kind != "cpu" and _operators("cpu") is None:  # which declares what all of them are
        return None
    recipe, check = _KINDS[kind]
    try:
        _load(recipe())
        check(torch.ops.atlas_native)
    except (BuildError, CheckError, OSError, RuntimeError, AttributeError) as error:
        # Beside ours: what PyTorch raises for a library without the operators, or for one that fails when it is called.
        why = (str(error).splitlines() or [type(error).__name__])[0]
        _log.warning("native operators for %s are not used: %s; plain PyTorch runs in their place", kind, why)
        return None
    return torch.ops.atlas_native


class CheckError(Exception):
    """The compiled operators do not do what the plain ones do."""


def _load(recipe: Recipe) -> None:
    library = build(recipe, _log.warning)
    try:
        torch.ops.load_library(library)
    except OSError:  # damaged since it was compiled
        library = build(recipe, _log.warning, again=True)
        try:
            torch.ops.load_library(library)
        except OSError as error:
            raise BuildError(f"{library} cannot be loaded ({error})") from error


def check_cpu(native: Any) -> None:
    """Compare each operator for processors with plain PyTorch on small random tensors.

    Raises:
        CheckError: one differs; the message names it.
    """
    rng = torch.Generator().manual_seed(0)
    for name, xp, yp in (("same", 1, 1), ("down", 4, 1), ("up", 1, 4)):
        x = _draw(rng, 2, 16, *((6, 5) if yp == 4 else (12, 10)))
        w = torch.randn(xp * yp, 3, 3, 16, 48, generator=rng)
        plain = plain_conv(x, w, xp, yp)
        _agree(f"conv ({name})", native.conv(x, w, xp, yp, None, None, None, None, 1.0, torch.inf), plain)
        y, leaf = _draw(rng, *plain.shape), w.clone().requires_grad_()
        with torch.enable_grad():
            (wanted,) = torch.autograd.grad(plain_conv(x, leaf, xp, yp), leaf, y)
        _agree(f"conv_weight ({name})", native.conv_weight(x, y, xp, yp), wanted)
    _check_activation(native, rng, "cpu", sums=True)
    _check_resampling(native, rng, "cpu")


def check_cuda(native: Any) -> None:
    """Compare each operator for GPUs with plain PyTorch, in both memory layouts. Raises as `check_cpu`."""
    rng = torch.Generator().manual_seed(0)
    for layout in (torch.channels_last, torch.contiguous_format):
        _check_activation(native, rng, "cuda", sums=False, layout=layout)
        _check_resampling(native, rng, "cuda", layout)


def _check_activation(
    native: Any, rng: torch.Generator, device: str, sums: bool, layout: torch.memory_format = torch.channels_last
) -> None:
    x = _draw(rng, 2, 16, 5, 7).to(device, memory_format=layout)
    scale, noise, bias = (torch.randn(shape, generator=rng).to(device) for shape in ((2, 16), (5, 7), (16,)))
    leaves = [t.clone().requires_grad_() for t in (x, scale, noise, bias)]
    with torch.enable_grad():
        a, b, c, d = leaves
        plain = F.leaky_relu(a * b[:, :, None, None] + c + d[:, None, None], 0.2).clamp(-2, 2)
        wanted = torch.autograd.grad(plain.sum(), leaves)
    y = native.activate(x, scale, noise, bias, 0.2, 2.0)
    _agree("activate", y, plain.detach())
    dx, *parts = native.activate_backward(torch.ones_like(y), y, x, scale, 0.2, 2.0, sums, sums, sums)
    _agree("activate_backward (x)", dx, wanted[0])
    if sums:
        dscale, dnoise, dbias = parts
        _agree("activate_backward (scale)", dscale.sum(1), wanted[1])
        _agree("activate_backward (noise)", dnoise.sum(0)[0], wanted[2])
        _agree("activate_backward (bias)", dbias.sum((0, 1)), wanted[3])


def _check_resampling(
    native: Any, rng: torch.Generator, device: str, layout: torch.memory_format = torch.channels_last
) -> None:
    x = _draw(rng, 2, 12, 7, 5).to(device, memory_format=layout)
    f = torch.randn(4, 3, generator=rng).to(device)
    spread = x.new_zeros(2, 12, 14, 5)
    spread[:, :, ::2] = x
    kernel = f.expand(12, 1, 4, 3)
    plain = F.conv2d(F.pad(spread, [2, 1, 1, 2]), kernel, stride=(1, 2), groups=12)
    found = native.resample(x, f, [2, 1], [1, 2], [1, 2], list(plain.shape[2:]))
    _agree("resample", found, plain)


def _draw(rng: torch.Generator, *shape: int) -> Tensor:
    return torch.randn(shape, generator=rng).contiguous(memory_format=torch.channels_last)


def plain_conv(x: Tensor, w: Tensor, xp: int, yp: int) -> Tensor:
    """Do what the operator ``conv`` does (see `pipeline.gan.winograd`) with PyTorch's own convolution."""
    if xp == 4:
        x = torch.cat([x[:, :, row::2, column::2] for row in (0, 1) for column in (0, 1)], dim=1)
    _, _, _, inner, outer = w.shape
    if xp == 4:
        w = w.permute(1, 2, 0, 3, 4).reshape(1, 3, 3, xp * inner, outer)
    parts = [F.conv2d(x, kernel.permute(3, 2, 0, 1), padding=1) for kernel in w]
    if yp == 1:
        return parts[0]
    n, _, height, width = parts[0].shape
    woven = torch.stack(parts).view(2, 2, n, outer, height, width).permute(2, 3, 4, 0, 5, 1)
    return woven.reshape(n, outer, 2 * height, 2 * width)


def _agree(name: str, mine: Tensor, plain: Tensor) -> None:
    off = float((mine - plain).abs().max()) if mine.shape == plain.shape else torch.inf
    if not off <= TOLERANCE * float(plain.abs().max()):
        raise CheckError(f"{name} is off by {off:.3g}")


_KINDS: dict[str, tuple[Callable[[], Recipe], Callable[[Any], None]]] = {
    "cpu": (cpu_recipe, check_cpu),
    "cuda": (cuda_recipe, check_cuda),
}
