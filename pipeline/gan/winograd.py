"""3×3 convolution by Winograd's minimal filtering, the 2× resampling around it folded in: on processors.

The native operator (`pipeline.gan.native`) multiplies a quarter as often as the definition asks. Up- or downsampling
by 2 with a 4-tap filter around a 3×3 kernel is one 6×6 kernel with stride 2; on the four phases (every second pixel of
every second row) of the finer image that is four 3×3 kernels, each of which can be computed the same way, so that no
filtered or upsampled image is ever in memory.

As in `pipeline.gan.convolution`, ⟨conv(x, w), y⟩ is linear in each of x, w and y; the derivative by one of them is a
function of the other two and is again of this form, which gives derivatives of every order.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch import Tensor

from pipeline.gan import activation
from pipeline.gan.convolution import Trilinear
from pipeline.gan.native import operators

PANEL = {torch.float32: 16}  # channels come in multiples of it
# Below these the plain version is as fast and rounds less: transforming the kernels must be worth while. Upsampling
# multiplies as often as a transposed convolution does, and gains by the filter's passes over large images only.
LEAST_MULTIPLICATIONS = 100_000_000  # of the convolution by definition
LEAST_TILES = 48  # of 4 × 4 places
LEAST_SIDE_UP = 32  # of the coarse image
TAPS = (4, 4)  # of the resampling filter
MODES = {(1, 1): (1, 1), (2, 1): (1, 4), (1, 2): (4, 1)}  # (up, down) → phases of input and output


def suits(x: Tensor, w: Tensor, f: Tensor | None = None, up: int = 1, down: int = 1) -> bool:
    """Return whether this convolution can be, and is to be, computed here.

    Args:
        x: [N, in, H, W].
        w: [out, in, 3, 3]; anything else does not suit.
        f: [4, 4], where ``up`` or ``down`` is 2.
        up, down: 1 or 2, not both 2.
    """
    if not up == down == 1 and (f is None or f.shape != TAPS):
        return False
    panel = PANEL.get(x.dtype)
    if panel is None or x.device.type != "cpu" or w.shape[2:] != (3, 3) or w.dtype != x.dtype:
        return False
    if (up, down) not in MODES or w.shape[0] % panel or w.shape[1] % panel or x.shape[1] != w.shape[1]:
        return False
    if x.shape[2] % down or x.shape[3] % down or (up > 1 and min(x.shape[2:]) < LEAST_SIDE_UP):
        return False
    places = x.shape[0] * (x.shape[2] // down) * (x.shape[3] // down)
    if places < 16 * LEAST_TILES or places * w.numel() < LEAST_MULTIPLICATIONS:
        return False
    return operators(x.device) is not None


def conv(x: Tensor, w: Tensor, f: Tensor | None = None, up: int = 1, down: int = 1) -> Tensor:
    """Correlate with "same" padding: as `ops.conv2d_resample` does with padding 1 and ``flip_weight``.

    Args:
        x: [N, in, H, W].
        w: [out, in, 3, 3].
        f: [4, 4], the resampling filter where ``up`` or ``down`` is 2.

    Returns:
        [N, out, H·up / down, W·up / down] in channels-last memory.
    """
    y: Tensor = Trilinear.apply(_PARTIAL, "output", x, kernels(w, f, up, down), MODES[up, down])
    return y


def conv_lrelu(
    x: Tensor, w: Tensor, bias: Tensor, f: Tensor | None, down: int, slope: float, clamp: float | None
) -> Tensor:
    """Return clamp(leaky_relu(conv(x, w) + bias)), the activation in the convolution's own pass.

    Args:
        x, w, f, down: see `conv`.
        bias: [out].
        slope: of the leaky ReLU.
        clamp: the result is kept within ±clamp; None for no limit.
    """
    # Here, where it is recorded: what `_Activated` keeps must be what it was given, or second derivatives miss it.
    x, w = x.contiguous(memory_format=torch.channels_last), kernels(w, f, 1, down).contiguous()
    limit = torch.inf if clamp is None else clamp
    y: Tensor = _Activated.apply(x, w, bias.to(x.dtype).contiguous(), MODES[1, down], slope, limit)
    return y


def layer(
    x: Tensor,
    w: Tensor,
    f: Tensor | None,
    up: int,
    styles: Tensor,
    scale: Tensor | None,
    noise: Tensor | None,
    bias: Tensor | None,
    slope: float,
    clamp: float | None,
) -> Tensor:
    """Return clamp(leaky_relu(conv(x · styles) · scale + noise + bias)) in one pass, without derivatives.

    Args:
        x: [N, in, H, W].
        w: [out, in, 3, 3].
        f: see `conv`.
        up: 1 or 2.
        styles: [N, in].
        scale: [N, out] or None.
        noise: [H, W] or [N, 1, H, W] of the result, or None.
        bias: [out] or None.
        slope: of the leaky ReLU; 1 for none.
        clamp: the result is kept within ±clamp; None for no limit.
    """
    native = operators(x.device)
    assert native is not None
    x = x.contiguous(memory_format=torch.channels_last)
    optional = [None if t is None else t.to(x.dtype).contiguous() for t in (styles, scale, noise, bias)]
    limit = torch.inf if clamp is None else clamp
    y: Tensor = native.conv(x, kernels(w, f, up, 1), *MODES[up, 1], *optional, slope, limit)
    return y


def kernels(w: Tensor, f: Tensor | None, up: int, down: int) -> Tensor:
    """Return the 3×3 kernels of each phase, filter and gain included: [out, in, 3, 3] → [phases, 3, 3, in, out]."""
    out, inner = w.shape[:2]
    w = w.permute(2, 3, 1, 0)  # [3, 3, in, out]
    if up == down == 1:
        return w.contiguous()[None]
    assert f is not None
    merged = _merging(f, up > 1).to(w.dtype) @ w.reshape(9, inner * out)
    return merged.view(4, 3, 3, inner, out)


def _merging(f: Tensor, up: bool) -> Tensor:
    """Return the matrix [36, 9] that turns a 3×3 kernel into those of the four phases; up has a gain of 4.

    With k the 6×6 kernel (filter and kernel convolved with each other) and t the tap of a phase's kernel, upsampling
    takes k[phase + 4 − 2·t], and downsampling, which correlates, k[phase + 2·t].
    """
    index, inside = _merging_index(up, f.device)
    return f.flatten()[index] * (inside * (4.0 if up else 1.0)).to(f.dtype)


@cache
def _merging_index(up: bool, device: torch.device) -> tuple[Tensor, Tensor]:
    phase, tap, a = torch.meshgrid(torch.arange(2), torch.arange(3), torch.arange(3), indexing="ij")
    # Which tap of the filter meets tap `a` of the kernel. Correlating kernels run backwards against the filter.
    v = phase + 4 - 2 * tap - (2 - a) if up else a + 3 - 2 * tap - phase
    y, x = v[:, None, :, None, :, None], v[None, :, None, :, None, :]  # [row phase, column phase, tap, tap, a, b]
    inside = (y >= 0) & (y < TAPS[0]) & (x >= 0) & (x < TAPS[1])
    index = y.clamp(0, TAPS[0] - 1) * TAPS[1] + x.clamp(0, TAPS[1] - 1)
    return index.reshape(36, 9).to(device), inside.reshape(36, 9).to(device)


class _Activated(torch.autograd.Function):
    """`conv_lrelu`, with the kernels of each phase; images in channels-last memory, the rest contiguous."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, w: Tensor, bias: Tensor, phases: tuple[int, int], slope: float, limit: float
    ) -> Tensor:
        y: Tensor = torch.ops.atlas_native.conv(x, w, *phases, None, None, None, bias, slope, limit)
        ctx.save_for_backward(x, w, y)
        ctx.phases, ctx.slope, ctx.limit = phases, slope, limit
        return y

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, w, y = ctx.saved_tensors
        need_x, need_w, need_bias = ctx.needs_input_grad[:3]
        g, sums = activation.gate(grads[0], y, ctx.slope, ctx.limit, need_bias)
        dx = Trilinear.apply(_PARTIAL, "input", w, g, ctx.phases) if need_x else None
        dw = Trilinear.apply(_PARTIAL, "weight", x, g, ctx.phases) if need_w else None
        return dx, dw, sums, None, None, None


def _by_output(x: Tensor, w: Tensor, phases: tuple[int, int]) -> Tensor:
    x = x.contiguous(memory_format=torch.channels_last)
    y: Tensor = torch.ops.atlas_native.conv(x, w.contiguous(), *phases, None, None, None, None, 1.0, torch.inf)
    return y


def _by_input(w: Tensor, y: Tensor, phases: tuple[int, int]) -> Tensor:
    return _by_output(y, w.flip([1, 2]).transpose(3, 4), (phases[1], phases[0]))


def _by_weight(x: Tensor, y: Tensor, phases: tuple[int, int]) -> Tensor:
    x, y = (t.contiguous(memory_format=torch.channels_last) for t in (x, y))
    w: Tensor = torch.ops.atlas_native.conv_weight(x, y, *phases)
    return w


_PARTIAL = {"input": _by_input, "weight": _by_weight, "output": _by_output}
