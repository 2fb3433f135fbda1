"""Convolution whose first and second derivatives are convolutions too, and so as fast as the forward pass.

PyTorch's own second derivative of a convolution takes a detour that costs several forward passes; R1 and path length
regularisation live on second derivatives. For a convolution y = x ∗ w the number ⟨x ∗ w, y'⟩ is linear in each of
x, w and y'. Its derivative by one of the three is a function of the other two, and the derivative of that function by
either of its arguments is again one of the three: `_by_output` (the convolution), `_by_input` (the transposed one) and
`_by_weight`. That closes the circle for derivatives of every order.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

Pair = tuple[int, int]  # [y, x]
Partials = Mapping[str, Callable[[Tensor, Tensor, Any], Tensor]]


class Geometry(NamedTuple):
    """What a convolution is beside its tensors: also the shapes of the one that is to be computed."""

    stride: Pair
    padding: Pair
    groups: int
    input: Sequence[int]
    weight: Sequence[int]


def conv2d(x: Tensor, w: Tensor, stride: Pair = (1, 1), padding: Pair = (0, 0), groups: int = 1) -> Tensor:
    """Correlate [N, in, H, W] with [out, in / groups, h, w]: [N, out, (H + 2·padding − h) // stride + 1, …]."""
    y: Tensor = Trilinear.apply(_PARTIAL, "output", x, w, Geometry(stride, padding, groups, x.shape, w.shape))
    return y


def conv_transpose2d(x: Tensor, w: Tensor, stride: Pair = (1, 1), padding: Pair = (0, 0), groups: int = 1) -> Tensor:
    """Spread [N, in, H, W] by [in, out / groups, h, w]: [N, out, (H − 1)·stride − 2·padding + h, …]."""
    height, width = (
        (n - 1) * s - 2 * p + k for n, s, p, k in zip(x.shape[2:], stride, padding, w.shape[2:], strict=True)
    )
    shape = (x.shape[0], w.shape[1] * groups, height, width)
    y: Tensor = Trilinear.apply(_PARTIAL, "input", w, x, Geometry(stride, padding, groups, shape, w.shape))
    return y


class Trilinear(torch.autograd.Function):
    """The derivative of ⟨x ∗ w, y⟩ by one of x, w, y: a function of the other two, given in that order.

    ``partials`` holds the three by the names "input", "weight", "output" (in this order), each a function of the two
    others and of ``geometry``, whatever else they need to know; ``by`` says which of them is computed.
    """

    @staticmethod
    def forward(ctx: Any, partials: Partials, by: str, a: Tensor, b: Tensor, geometry: Any) -> Tensor:
        """Compute the one that ``by`` names."""
        ctx.save_for_backward(a, b)
        ctx.partials, ctx.by, ctx.geometry = partials, by, geometry
        return partials[by](a, b, geometry)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[None, None, Tensor | None, Tensor | None, None]:
        """Compute the two others, again by this function."""
        a, b = ctx.saved_tensors
        first, second = (name for name in ctx.partials if name != ctx.by)
        full = {ctx.by: grads[0], first: a, second: b}

        def partial(by: str) -> Tensor:
            others = [full[name] for name in ctx.partials if name != by]
            gradient: Tensor = Trilinear.apply(ctx.partials, by, *others, ctx.geometry)
            return gradient

        need_a, need_b = ctx.needs_input_grad[2:4]
        return None, None, partial(first) if need_a else None, partial(second) if need_b else None, None


def _by_output(x: Tensor, w: Tensor, geometry: Geometry) -> Tensor:
    return F.conv2d(x, w, stride=geometry.stride, padding=geometry.padding, groups=geometry.groups)


def _by_input(w: Tensor, y: Tensor, geometry: Geometry) -> Tensor:
    stride, padding, groups, shape, kernel = geometry
    lost = [
        n - ((m - 1) * s - 2 * p + k)
        for n, m, s, p, k in zip(shape[2:], y.shape[2:], stride, padding, kernel[2:], strict=True)
    ]
    return F.conv_transpose2d(y, w, stride=stride, padding=padding, output_padding=lost, groups=groups)


def _by_weight(x: Tensor, y: Tensor, geometry: Geometry) -> Tensor:
    stride, padding, groups, _, kernel = geometry
    shape_only = y.new_empty(1).expand(kernel)
    gradient: Tensor = torch.ops.aten.convolution_backward(
        y, x, shape_only, None, stride, padding, [1, 1], False, [0, 0], groups, [False, True, False]
    )[1]
    return gradient


_PARTIAL = {"input": _by_input, "weight": _by_weight, "output": _by_output}
