"""What follows a convolution, in one pass over memory by a native operator.

y = clamp(leaky_relu(x · scale + noise + bias)), with derivatives of every order. Plain PyTorch goes over the image once
for each of these, and again for each in the backward pass; `pipeline.gan.ops` has that version.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from pipeline.gan.native import operators

CUDA_TYPES = (torch.float32, torch.float64, torch.float16, torch.bfloat16)


def suits(x: Tensor) -> bool:
    """Return whether [N, C, H, W] is to be activated here.

    On processors it is not for its own sake (PyTorch, writing over its input, is as fast), but only beside
    `pipeline.gan.winograd`.
    """
    return x.device.type == "cuda" and x.ndim == 4 and x.dtype in CUDA_TYPES and operators(x.device) is not None


def activate(
    x: Tensor,
    scale: Tensor | None = None,
    noise: Tensor | None = None,
    bias: Tensor | None = None,
    slope: float = 1.0,
    clamp: float | None = None,
) -> Tensor:
    """Return clamp(leaky_relu(x · scale + noise + bias)).

    Args:
        x: [N, C, H, W].
        scale: [N, C] or None.
        noise: [H, W] or [N, 1, H, W] or None.
        bias: [C] or None.
        slope: of the leaky ReLU; 1 for none.
        clamp: the result is kept within ±clamp; None for no limit.

    Returns:
        [N, C, H, W], in channels-last memory on processors.
    """
    factors = [None if t is None else t.to(x.dtype).contiguous() for t in (scale, noise, bias)]
    x = _dense(x)
    y: Tensor = _Activate.apply(x, *factors, slope, torch.inf if clamp is None else clamp)
    return y


def gate(dy: Tensor, y: Tensor, slope: float, limit: float, need_sums: bool) -> tuple[Tensor, Tensor | None]:
    """Go back through leaky ReLU and clamp: for the backward pass of what ends in them.

    Args:
        dy: the gradient by their result, [N, C, H, W].
        y: that result.
        slope, limit: of leaky ReLU and clamp.
        need_sums: whether the sums over all but C, the gradient by a bias, are needed.

    Returns:
        The gradient by what came in, and the sums, [C], or None. Both are differentiable where gradients are recorded.
    """
    dy = _like(dy, y)
    if torch.is_grad_enabled() or dy.device.type != "cpu":
        g: Tensor = _Gate.apply(dy, y.detach(), slope, limit)
        return g, g.sum((0, 2, 3)) if need_sums else None
    g, _, _, sums = torch.ops.atlas_native.activate_backward(dy, y, None, None, slope, limit, False, False, need_sums)
    return g, sums.sum((0, 1)) if need_sums else None


class _Activate(torch.autograd.Function):
    """`activate`; where its backward pass is to be differentiated itself, that is made of differentiable parts."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, scale: Tensor | None, noise: Tensor | None, bias: Tensor | None, slope: float, limit: float
    ) -> Tensor:
        y: Tensor = torch.ops.atlas_native.activate(x, scale, noise, bias, slope, limit)
        ctx.slope, ctx.limit = slope, limit
        ctx.linear = slope == 1 and limit == torch.inf  # then the result tells nothing
        ctx.noise_shape = None if noise is None else noise.shape
        ctx.save_for_backward(None if scale is None else x, scale, None if ctx.linear else y)
        return y

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, scale, y = ctx.saved_tensors
        dy = grads[0].contiguous(memory_format=torch.channels_last) if y is None else _like(grads[0], y)
        _, need_scale, need_noise, need_bias = ctx.needs_input_grad[:4]
        if not torch.is_grad_enabled() and dy.device.type == "cpu":
            dx, dscale, dnoise, dbias = torch.ops.atlas_native.activate_backward(
                dy, dy if y is None else y, x, scale, ctx.slope, ctx.limit, need_scale, need_noise, need_bias
            )
            return (
                dx,
                dscale.sum(1) if need_scale else None,
                _summed(dnoise, ctx.noise_shape) if need_noise else None,
                dbias.sum((0, 1)) if need_bias else None,
                None,
                None,
            )
        g = dy if y is None else _Gate.apply(dy, y.detach(), ctx.slope, ctx.limit)
        return (
            g if scale is None else activate(g, scale),
            (g * x).sum((2, 3)) if need_scale else None,
            _summed(g.sum(1, keepdim=True), ctx.noise_shape) if need_noise else None,
            g.sum((0, 2, 3)) if need_bias else None,
            None,
            None,
        )


class _Gate(torch.autograd.Function):
    """The derivative of leaky ReLU and clamp times ``dy``, given their result ``y``; linear in dy."""

    @staticmethod
    def forward(ctx: Any, dy: Tensor, y: Tensor, slope: float, limit: float) -> Tensor:
        ctx.save_for_backward(y)
        ctx.slope, ctx.limit = slope, limit
        g: Tensor = torch.ops.atlas_native.activate_backward(dy, y, None, None, slope, limit, False, False, False)[0]
        return g

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None, None]:
        (y,) = ctx.saved_tensors
        again: Tensor = _Gate.apply(_like(grads[0], y), y, ctx.slope, ctx.limit)
        return again, None, None, None


def _dense(x: Tensor) -> Tensor:
    """Return ``x`` in memory that the operators take: channels-last, or on a GPU as it is if that is contiguous."""
    if x.device.type != "cpu" and x.is_contiguous():
        return x
    return x.contiguous(memory_format=torch.channels_last)


def _like(dy: Tensor, y: Tensor) -> Tensor:
    """Return ``dy`` in the memory layout of ``y``."""
    if y.device.type != "cpu" and y.is_contiguous():
        return dy.contiguous()
    return dy.contiguous(memory_format=torch.channels_last)


def _summed(per_sample: Tensor, shape: torch.Size) -> Tensor:
    """Bring the gradient [N, 1, H, W] to the shape of the noise: as it is, or [H, W]."""
    return per_sample.sum((0, 1)) if len(shape) == 2 else per_sample.sum_to_size(shape)
