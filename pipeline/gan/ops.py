"""The operators of StyleGAN2 in plain PyTorch: FIR resampling, bias and activation, convolution.

Every operator is made of differentiable PyTorch functions only, so first and second derivatives come with it, on any
device. Images are [N, C, H, W]. Conventions: padding as four numbers is [left, right, top, bottom] and may be
negative (a crop); a pair of factors is [x, y]; filters are [h, w], or [taps] when applied along both axes in turn.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from pipeline.gan import activation, resample, winograd
from pipeline.gan.convolution import conv2d, conv_transpose2d

Pair = int | Sequence[int]
SEPARABLE_FROM = 8  # a filter given as a list of so many taps or more stays one-dimensional

LRELU_SLOPE = 0.2
_GAINS = {"linear": 1.0, "relu": 2**0.5, "lrelu": 2**0.5}


def setup_filter(taps: Sequence[float] | Sequence[Sequence[float]] | None) -> Tensor:
    """Return a FIR filter that sums to 1: [h, w], or [taps] for a list of 8 or more; None is the identity."""
    f = torch.as_tensor([[1.0]] if taps is None else taps, dtype=torch.float32)
    if f.ndim == 1 and len(f) < SEPARABLE_FROM:
        f = f.outer(f)
    return f / f.sum()


def upfirdn2d(
    x: Tensor,
    f: Tensor | None,
    up: Pair = 1,
    down: Pair = 1,
    padding: Pair = 0,
    flip_filter: bool = False,
    gain: float = 1.0,
) -> Tensor:
    """Insert zeros, pad or crop, convolve with a FIR filter, keep every ``down``-th sample.

    Args:
        x: [N, C, H, W].
        f: filter (`setup_filter`), None for the identity.
        up: how far samples are spread, [x, y] or one number for both.
        down: every how many samples one is kept.
        padding: zeros added (or samples cropped, if negative) after spreading; 1, 2 or 4 numbers.
        flip_filter: False convolves, True correlates.
        gain: factor on the result; up², to keep the brightness when upsampling.

    Returns:
        [N, C, (H·up + top + bottom − h) // down + 1, likewise W].
    """
    up_x, up_y = _pair(up)
    down_x, down_y = _pair(down)
    left, right, top, bottom = _four(padding)
    f = x.new_ones(1, 1) if f is None else f.to(x.dtype)
    f = f * gain ** (f.ndim / 2)
    if not flip_filter:
        f = f.flip(list(range(f.ndim)))
    if f.ndim == 2:
        return _filter(x, f, (up_y, up_x), (down_y, down_x), (top, bottom, left, right))
    x = _filter(x, f[:, None], (up_y, 1), (down_y, 1), (top, bottom, 0, 0))
    return _filter(x, f[None, :], (1, up_x), (1, down_x), (0, 0, left, right))


def _filter(
    x: Tensor, f: Tensor, up: tuple[int, int], down: tuple[int, int], padding: tuple[int, int, int, int]
) -> Tensor:
    """Correlate each channel with ``f`` [h, w]; pairs are [y, x], padding is top, bottom, left, right."""
    channels = x.shape[1]
    top, bottom, left, right = padding
    if resample.suits(x, up, down):
        height, width = (
            (n * u + sum(p) - k) // d + 1
            for n, u, p, k, d in zip(x.shape[2:], up, ((top, bottom), (left, right)), f.shape, down, strict=True)
        )
        return resample.resample(x, f, up, down, (top, left), (height, width))
    if up == (1, 1):
        x, pad = _pad_evenly(x, left, right, top, bottom)
        return conv2d(x, f.expand(channels, 1, *f.shape), stride=down, padding=pad, groups=channels)
    # A transposed convolution multiplies no inserted zeros. It gives all that the filter touches: crop as asked.
    kernel_y, kernel_x = f.shape
    f = f.flip([0, 1]).expand(channels, 1, *f.shape)
    top, bottom = top - (kernel_y - 1), bottom - (kernel_y - 1) + (up[0] - 1)
    left, right = left - (kernel_x - 1), right - (kernel_x - 1) + (up[1] - 1)
    crop = (0, 0)
    if top == bottom <= 0 and left == right <= 0:
        crop, top, bottom, left, right = (-top, -left), 0, 0, 0, 0
    x = conv_transpose2d(x, f, stride=up, padding=crop, groups=channels)
    return F.pad(x, [left, right, top, bottom])[:, :, :: down[0], :: down[1]]


def filter2d(x: Tensor, f: Tensor, padding: Pair = 0, flip_filter: bool = False, gain: float = 1.0) -> Tensor:
    """Filter an image without changing its size; ``padding`` is added to what that takes."""
    fw, fh = _size(f)
    left, right, top, bottom = _four(padding)
    pad = [left + fw // 2, right + (fw - 1) // 2, top + fh // 2, bottom + (fh - 1) // 2]
    return upfirdn2d(x, f, padding=pad, flip_filter=flip_filter, gain=gain)


def upsample2d(
    x: Tensor, f: Tensor, up: Pair = 2, padding: Pair = 0, flip_filter: bool = False, gain: float = 1.0
) -> Tensor:
    """Upsample so that brightness is kept; each output sample lies symmetric to the input's."""
    up_x, up_y = _pair(up)
    fw, fh = _size(f)
    left, right, top, bottom = _four(padding)
    pad = [
        left + (fw + up_x - 1) // 2,
        right + (fw - up_x) // 2,
        top + (fh + up_y - 1) // 2,
        bottom + (fh - up_y) // 2,
    ]
    return upfirdn2d(x, f, up=up, padding=pad, flip_filter=flip_filter, gain=gain * up_x * up_y)


def downsample2d(
    x: Tensor, f: Tensor, down: Pair = 2, padding: Pair = 0, flip_filter: bool = False, gain: float = 1.0
) -> Tensor:
    """Downsample after low-pass filtering."""
    down_x, down_y = _pair(down)
    fw, fh = _size(f)
    left, right, top, bottom = _four(padding)
    pad = [
        left + (fw - down_x + 1) // 2,
        right + (fw - down_x) // 2,
        top + (fh - down_y + 1) // 2,
        bottom + (fh - down_y) // 2,
    ]
    return upfirdn2d(x, f, down=down, padding=pad, flip_filter=flip_filter, gain=gain)


def bias_act(
    x: Tensor,
    b: Tensor | None = None,
    act: str = "linear",
    alpha: float = LRELU_SLOPE,
    gain: float | None = None,
    clamp: float | None = None,
) -> Tensor:
    """Add a bias along axis 1, apply an activation, scale, clamp.

    Args:
        x: [N, C, …].
        b: [C] or None.
        act: ``linear``, ``relu`` or ``lrelu`` (slope ``alpha`` below zero).
        gain: factor after the activation; by default what keeps the variance: 1, √2, √2.
        clamp: the result is kept within ±clamp; None for no limit.
    """
    if b is not None:
        x = x + b.to(x.dtype).reshape([1, -1] + [1] * (x.ndim - 2))
    if act == "lrelu":
        x = F.leaky_relu(x, alpha)
    elif act == "relu":
        x = F.relu(x)
    gain = _GAINS[act] if gain is None else gain
    if gain != 1:
        x = x * gain
    return x if clamp is None else x.clamp(-clamp, clamp)


def bias_lrelu_(x: Tensor, b: Tensor | None = None, clamp: float | None = None) -> Tensor:
    """Add a bias [C] to [N, C, H, W] and apply the leaky ReLU, writing over ``x``; then clamp.

    Leaky ReLU commutes with positive factors, so its gain of √2 belongs into what comes before: no pass of its own.
    """
    if b is not None:
        x = x.add_(b.to(x.dtype)[:, None, None])
    x = F.leaky_relu_(x, LRELU_SLOPE)
    return x if clamp is None else x.clamp(-clamp, clamp)


def conv2d_resample(
    x: Tensor,
    w: Tensor,
    f: Tensor | None = None,
    up: int = 1,
    down: int = 1,
    padding: Pair = 0,
    groups: int = 1,
    flip_weight: bool = True,
    flip_filter: bool = False,
) -> Tensor:
    """Convolve, with FIR up- or downsampling around it.

    Args:
        x: [N, in, H, W].
        w: [out, in / groups, k, k].
        f: resampling filter, needed where ``up`` or ``down`` is not 1.
        padding: with respect to the upsampled image; "same" for k = 3 is 1.
        flip_weight: True correlates (what PyTorch calls a convolution), False convolves.

    Returns:
        [N, out, H·up / down, W·up / down] for "same" padding.
    """
    left, right, top, bottom = _four(padding)
    kernel = w.shape[-1]
    if padding == 1 and groups == 1 and not flip_filter and winograd.suits(x, w, f, up, down):
        return winograd.conv(x, w if flip_weight else w.flip([2, 3]), f, up, down)
    if up == 1 and down == 1:
        return _convolve(x, w, [left, right, top, bottom], groups, flip_weight)
    assert f is not None
    fw, fh = _size(f)
    if up > 1:
        left, right = left + (fw + up - 1) // 2, right + (fw - up) // 2
        top, bottom = top + (fh + up - 1) // 2, bottom + (fh - up) // 2
    if down > 1:
        left, right = left + (fw - down + 1) // 2, right + (fw - down) // 2
        top, bottom = top + (fh - down + 1) // 2, bottom + (fh - down) // 2
    if up == 1:
        # Filter first: the convolution then only computes the samples that are kept.
        strided = down if kernel > 1 else 1
        pad = [left, right, top, bottom]
        x = upfirdn2d(x, f, down=down // strided, padding=pad, flip_filter=flip_filter)
        return _convolve(x, w, [0, 0, 0, 0], groups, flip_weight, stride=strided)
    if kernel == 1:
        x = _convolve(x, w, [0, 0, 0, 0], groups, flip_weight)
        pad = [left, right, top, bottom]
        return upfirdn2d(x, f, up=up, down=down, padding=pad, gain=up**2, flip_filter=flip_filter)
    # A transposed convolution multiplies no inserted zeros; its result is `kernel − up` larger than H·up.
    x = _transposed(x, w, up, groups, flip_weight)
    grown = [left - (kernel - 1), right - (kernel - up), top - (kernel - 1), bottom - (kernel - up)]
    return upfirdn2d(x, f, down=down, padding=grown, gain=up**2, flip_filter=flip_filter)


def conv2d_lrelu(
    x: Tensor,
    w: Tensor,
    b: Tensor,
    f: Tensor | None = None,
    down: int = 1,
    padding: int = 0,
    clamp: float | None = None,
) -> Tensor:
    """Convolve, FIR downsampling before it, add the bias [C], apply the leaky ReLU (without a gain), clamp.

    The first arguments are those of `conv2d_resample`.
    """
    if padding == 1 and winograd.suits(x, w, f, 1, down):
        return winograd.conv_lrelu(x, w, b, f, down, LRELU_SLOPE, clamp)
    x = conv2d_resample(x, w, f, down=down, padding=padding)
    if activation.suits(x):
        return activation.activate(x, bias=b, slope=LRELU_SLOPE, clamp=clamp)
    return bias_lrelu_(x, b, clamp)


def modulated_conv2d(
    x: Tensor,
    weight: Tensor,
    styles: Tensor,
    noise: Tensor | None = None,
    up: int = 1,
    padding: int = 0,
    resample_filter: Tensor | None = None,
    demodulate: bool = True,
    flip_weight: bool = True,
    gain: float = 1.0,
) -> Tensor:
    """Convolve with a kernel that each sample's style scales per input channel (Karras et al. 2020, eq. 1 and 3).

    Scaling the activations before and, for demodulation, after one shared convolution is the same mathematics as a
    kernel per sample, and needs no grouped convolution.

    Args:
        x: [N, in, H, W].
        weight: [out, in, k, k].
        styles: [N, in].
        noise: added to the result; broadcastable to [N, out, H·up, W·up].
        gain: factor on the result, noise included.

    Returns:
        [N, out, H·up, W·up] for "same" padding.
    """
    if x.dtype == torch.float16 and demodulate:  # demodulation undoes both, and half precision does not overflow
        weight = weight / weight.detach().flatten(1).norm(torch.inf, dim=1)[:, None, None, None]
        weight = weight / math.sqrt(weight[0].numel())
        styles = styles / styles.detach().norm(torch.inf, dim=1, keepdim=True)
    if weight.shape[-1] == 1 and up == 1 and padding == 0 and not demodulate and noise is None:
        return _pointwise(x, weight.flatten(1) * (styles * gain).unsqueeze(1))
    x = x * styles.to(x.dtype)[:, :, None, None]
    x = conv2d_resample(x, weight.to(x.dtype), resample_filter, up=up, padding=padding, flip_weight=flip_weight)
    scale = demodulation(weight, styles) * gain if demodulate else x.new_full([1, 1], gain)
    return _scaled(x, scale.to(x.dtype)[:, :, None, None], None if noise is None else (noise * gain).to(x.dtype))


def modulated_lrelu(
    x: Tensor,
    weight: Tensor,
    styles: Tensor,
    noise: Tensor | None,
    bias: Tensor,
    up: int,
    resample_filter: Tensor,
    clamp: float | None = None,
) -> Tensor:
    """Apply a whole layer of the synthesis network: modulated 3×3 convolution, noise, bias, leaky ReLU · √2, clamp.

    Args:
        x: [N, in, H, W].
        weight: [out, in, 3, 3].
        styles: [N, in].
        noise: [H·up, W·up] for all samples or [N, 1, H·up, W·up], or None.
        bias: [out].
        up: 1 or 2; at 2 the kernel is turned round, as published networks have it.
        resample_filter: see `conv2d_resample`.
        clamp: the result is kept within ±clamp; None for no limit.

    Returns:
        [N, out, H·up, W·up].
    """
    gain = _GAINS["lrelu"]  # the leaky ReLU commutes with it, so that it needs no pass of its own
    native = winograd.suits(x, weight, resample_filter, up)
    if native or (activation.suits(x) and x.dtype != torch.float16):  # which is scaled down first, below
        scale, shift = demodulation(weight, styles) * gain, None if noise is None else noise * gain
        if native and not _differentiated(x, weight, styles, noise, bias):
            w = weight if up == 1 else weight.flip([2, 3])
            return winograd.layer(x, w, resample_filter, up, styles, scale, shift, bias * gain, LRELU_SLOPE, clamp)
        x = activation.activate(x, styles)
        x = conv2d_resample(x, weight.to(x.dtype), resample_filter, up, padding=1, flip_weight=up == 1)
        return activation.activate(x, scale, shift, bias * gain, LRELU_SLOPE, clamp)
    added, left = noise, bias if noise is not None and noise.ndim > 2 else None
    if left is None:  # the noise is the same for all samples: it and the bias are one addition
        added = bias[:, None, None] if noise is None else (noise[:, :, None] + bias).permute(2, 0, 1)
    x = modulated_conv2d(x, weight, styles, added, up, 1, resample_filter, flip_weight=up == 1, gain=gain)
    return bias_lrelu_(x, None if left is None else left * gain, clamp)


def demodulation(weight: Tensor, styles: Tensor) -> Tensor:
    """Return the factor [N, out] that brings a modulated convolution's output back to unit variance."""
    return (styles.square() @ weight.square().sum(dim=[2, 3]).T + 1e-8).rsqrt()


def _differentiated(*tensors: Tensor | None) -> bool:
    """Return whether a result of these will be asked for derivatives."""
    return torch.is_grad_enabled() and any(t.requires_grad for t in tensors if t is not None)


def _scaled(x: Tensor, scale: Tensor, shift: Tensor | None) -> Tensor:
    """Return x · scale + shift, written over ``x`` where no gradient will ask for it."""
    if shift is None:
        return x * scale if torch.is_grad_enabled() else x.mul_(scale)
    return torch.addcmul(shift, x, scale, out=None if torch.is_grad_enabled() else x)


def _pointwise(x: Tensor, kernels: Tensor) -> Tensor:
    """Apply a 1×1 kernel per sample, [N, out, in], as matrix products over the pixels."""
    n, channels, height, width = x.shape
    pixels = x.permute(0, 2, 3, 1).reshape(n, height * width, channels)
    return torch.bmm(pixels, kernels.to(x.dtype).transpose(1, 2)).view(n, height, width, -1).permute(0, 3, 1, 2)


def _convolve(x: Tensor, w: Tensor, pad: list[int], groups: int, flip_weight: bool, stride: int = 1) -> Tensor:
    if not flip_weight and w.shape[-1] > 1:
        w = w.flip([2, 3])
    x, even = _pad_evenly(x, *pad)
    return conv2d(x, w, stride=(stride, stride), padding=even, groups=groups)


def _transposed(x: Tensor, w: Tensor, up: int, groups: int, flip_weight: bool) -> Tensor:
    if flip_weight:
        w = w.flip([2, 3])
    out, inner, kh, kw = w.shape
    w = w.reshape(groups, out // groups, inner, kh, kw).transpose(1, 2).reshape(groups * inner, out // groups, kh, kw)
    return conv_transpose2d(x, w, stride=(up, up), groups=groups)


def _pad_evenly(x: Tensor, left: int, right: int, top: int, bottom: int) -> tuple[Tensor, tuple[int, int]]:
    """Leave equal padding, (y, x), to the convolution; pad or crop here where it is uneven or negative."""
    if left == right >= 0 and top == bottom >= 0:
        return x, (top, left)
    return F.pad(x, [left, right, top, bottom]), (0, 0)


def _pair(value: Pair) -> tuple[int, int]:
    x, y = (value, value) if isinstance(value, int) else value
    return x, y


def _four(padding: Pair) -> tuple[int, int, int, int]:
    if isinstance(padding, int):
        return padding, padding, padding, padding
    if len(padding) == 2:
        return padding[0], padding[0], padding[1], padding[1]
    left, right, top, bottom = padding
    return left, right, top, bottom


def _size(f: Tensor) -> tuple[int, int]:
    return f.shape[-1], f.shape[0]
