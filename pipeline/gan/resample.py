"""FIR resampling by a native operator: insert zeros, pad, correlate, keep every ``down``-th sample, in one pass.

The adjoint of resampling is resampling: up and down exchanged, the filter turned round. So there are derivatives of
every order.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from pipeline.gan.native import operators

Pair = tuple[int, int]  # [y, x]
CUDA_TYPES = (torch.float32, torch.float64, torch.float16, torch.bfloat16)
# On processors PyTorch filters as fast, and goes back through a filter that downsamples at a quarter of the speed.
LANES = 8  # channels come in multiples of it
LEAST_VALUES = 1_000_000  # below, there is little to gain


def suits(x: Tensor, up: Pair, down: Pair) -> bool:
    """Return whether an image [N, C, H, W] can be, and is to be, resampled here."""
    if x.device.type == "cuda":
        return x.dtype in CUDA_TYPES and operators(x.device) is not None
    if x.device.type != "cpu" or x.dtype != torch.float32 or up != (1, 1) or down == (1, 1):
        return False
    return x.shape[1] % LANES == 0 and x.numel() >= LEAST_VALUES and operators(x.device) is not None


def resample(x: Tensor, f: Tensor, up: Pair, down: Pair, pad: Pair, size: Pair) -> Tensor:
    """Return y[o] = Σₖ f[k] · x[(o · down + k − pad) / up], along both axes, where the division is exact.

    Args:
        x: [N, C, H, W].
        f: [h, w]; gets no gradient.
        up, down: how far samples are spread before, every how many are kept after.
        pad: zeros before the first sample, or samples left out where negative.
        size: height and width of the result.

    Returns:
        [N, C, *size], in channels-last memory on processors.
    """
    y: Tensor = _Resample.apply(x, f.to(x.dtype).contiguous(), up, down, pad, size)
    return y


class _Resample(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, f: Tensor, up: Pair, down: Pair, pad: Pair, size: Pair) -> Tensor:
        ctx.save_for_backward(f)
        ctx.numbers = up, down, pad, tuple(x.shape[2:])
        if x.device.type == "cpu" or not x.is_contiguous():
            x = x.contiguous(memory_format=torch.channels_last)
        if x.device.type == "cpu" and up == (1, 1):
            return _depthwise(x, f, down, pad, size)
        y: Tensor = torch.ops.atlas_native.resample(x, f, up, down, pad, size)
        return y

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None, None, None, None]:
        (f,) = ctx.saved_tensors
        up, down, pad, size = ctx.numbers
        turned = (f.shape[0] - 1 - pad[0], f.shape[1] - 1 - pad[1])
        dx: Tensor = _Resample.apply(grads[0], f.flip([0, 1]), down, up, turned, size)
        return dx, None, None, None, None, None


def _depthwise(x: Tensor, f: Tensor, down: Pair, pad: Pair, size: Pair) -> Tensor:
    """Do the same without upsampling as PyTorch's convolution of each channel."""
    after = [(o - 1) * d + k - p - n for o, d, k, p, n in zip(size, down, f.shape, pad, x.shape[2:], strict=True)]
    if min(*pad, *after) < 0 or pad[0] != after[0] or pad[1] != after[1]:
        x, pad = F.pad(x, [pad[1], after[1], pad[0], after[0]]), (0, 0)
    channels = x.shape[1]
    return F.conv2d(x, f.expand(channels, 1, *f.shape), stride=down, padding=pad, groups=channels)
