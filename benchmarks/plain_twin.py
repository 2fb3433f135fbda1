"""StyleGAN2 as its operators are usually written down, to measure ours against in the same run, on any machine.

The same networks with the same weights, from the published algorithm (Karras et al. 2020): a modulated convolution is a
grouped convolution with a kernel for each sample, or, as the official code trains, scales the activations; resampling
inserts zeros, pads, filters and drops samples in steps of their own; derivatives are PyTorch's own. NCHW throughout.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from pipeline.gan.networks import ConvLayer, Discriminator, FullyConnected, Generator, SynthesisLayer, ToRGB

GAIN = math.sqrt(2)


def upfirdn(x: Tensor, f: Tensor, up: int, down: int, pad: tuple[int, int], gain: float) -> Tensor:
    """Insert zeros, pad by (before, after) on both axes, convolve with ``f`` [h, w], keep every ``down``-th sample."""
    n, channels, height, width = x.shape
    if up > 1:
        x = x.reshape(n, channels, height, 1, width, 1)
        x = F.pad(x, [0, up - 1, 0, 0, 0, up - 1]).reshape(n, channels, height * up, width * up)
    x = F.pad(x, [*pad, *pad])
    kernel = (f * gain).flip([0, 1])[None, None].repeat(channels, 1, 1, 1)
    return F.conv2d(x, kernel, groups=channels)[:, :, ::down, ::down]


def modulated(x: Tensor, layer: SynthesisLayer | ToRGB, styles: Tensor, grouped: bool, demodulate: bool) -> Tensor:
    """Convolve with a kernel per sample, upsampling by 2 where the layer does."""
    weight, up = layer.weight, getattr(layer, "up", 1)
    n, kernel = len(x), weight.shape[-1]
    w = weight * styles[:, None, :, None, None]  # [N, out, in, k, k]
    scale = (w.square().sum([2, 3, 4]) + 1e-8).rsqrt() if demodulate else None  # [N, out]
    if grouped:
        w = w if scale is None else w * scale[:, :, None, None, None]
        x, w, groups = x.reshape(1, -1, *x.shape[2:]), w.flatten(0, 1), n
    else:
        x, w, groups = x * styles[:, :, None, None], weight, 1
    if up == 2:
        out, inner = w.shape[0] // groups, w.shape[1]
        w = w.reshape(groups, out, inner, kernel, kernel).transpose(1, 2).flatten(0, 1)
        x = F.conv_transpose2d(x, w, stride=2, groups=groups)
        x = upfirdn(x, layer.resample_filter, 1, 1, (1, 1), 4.0)
    else:
        x = F.conv2d(x, w, padding=kernel // 2, groups=groups)
    if grouped:
        return x.reshape(n, -1, *x.shape[2:])
    return x if scale is None else x * scale[:, :, None, None]


def fully_connected(x: Tensor, layer: FullyConnected) -> Tensor:
    """Scale the weights, multiply, add the bias, activate."""
    x = F.linear(x, layer.weight * layer.weight_gain, layer.bias * layer.bias_gain)
    return F.leaky_relu(x, 0.2) * GAIN if layer.act == "lrelu" else x


def mapping(G: Generator, z: Tensor) -> Tensor:
    """z [N, Z] → w [N, L, D], without a condition."""
    x = z * (z.square().mean(1, keepdim=True) + 1e-8).rsqrt()
    for i in range(G.mapping.layers):
        x = fully_connected(x, G.mapping.get_submodule(f"fc{i}"))
    return x[:, None].repeat(1, G.num_ws, 1)


def synthesis(G: Generator, ws: Tensor, noise_mode: str = "const", grouped: bool = True) -> Tensor:
    """w [N, L, D] → images [N, 3, H, W]."""
    x = img = None
    index = 0
    for name in G.synthesis.block_names:
        block = G.synthesis.get_submodule(name)
        if x is None:
            x = block.const[None].repeat(len(ws), 1, 1, 1)
        for conv in (block.conv0, block.conv1) if hasattr(block, "conv0") else (block.conv1,):
            x = modulated(x, conv, fully_connected(ws[:, index], conv.affine), grouped, demodulate=True)
            if noise_mode == "random":
                noise = torch.randn(len(x), 1, conv.resolution, conv.resolution, device=x.device)
                x = x + noise * conv.noise_strength
            else:
                x = x + conv.noise_const * conv.noise_strength
            x = F.leaky_relu(x + conv.bias[:, None, None], 0.2) * GAIN
            index += 1
        styles = fully_connected(ws[:, index], block.torgb.affine) * block.torgb.weight_gain
        rgb = modulated(x, block.torgb, styles, grouped, demodulate=False) + block.torgb.bias[:, None, None]
        img = rgb if img is None else upfirdn(img, block.resample_filter, 2, 1, (2, 1), 4.0) + rgb
    assert img is not None
    return img


def conv_layer(x: Tensor, layer: ConvLayer, gain: float = 1.0) -> Tensor:
    """Filter and convolve with every second sample kept where the layer downsamples; bias and leaky ReLU."""
    kernel = layer.weight.shape[-1]
    w = layer.weight * layer.weight_gain
    if layer.down == 2 and kernel == 1:
        x = F.conv2d(upfirdn(x, layer.resample_filter, 1, 2, (1, 1), 1.0), w)
    elif layer.down == 2:
        x = F.conv2d(upfirdn(x, layer.resample_filter, 1, 1, (2, 2), 1.0), w, stride=2)
    else:
        x = F.conv2d(x, w, padding=kernel // 2)
    if layer.bias is None:
        return x * gain
    return F.leaky_relu(x + layer.bias[:, None, None], 0.2) * (GAIN * gain)


def minibatch_std(x: Tensor, group: int) -> Tensor:
    """Append the spread within strided groups of images as one more channel."""
    n, c, h, w = x.shape
    group = min(group, n)
    y = x.reshape(group, -1, c, h, w)
    y = ((y - y.mean(0)).square().mean(0) + 1e-8).sqrt().mean([1, 2, 3])
    return torch.cat([x, y.reshape(-1, 1, 1, 1).repeat(group, 1, h, w)], 1)


def discriminator(D: Discriminator, img: Tensor) -> Tensor:
    """Images [N, 3, H, W] → logits [N, 1], without a condition."""
    x = img
    for name in D.block_names:
        block = D.get_submodule(name)
        if hasattr(block, "fromrgb"):
            x = conv_layer(x, block.fromrgb)
        skip = conv_layer(x, block.skip, math.sqrt(0.5))
        x = skip + conv_layer(conv_layer(x, block.conv0), block.conv1, math.sqrt(0.5))
    x = conv_layer(minibatch_std(x, D.b4.group), D.b4.conv)
    return fully_connected(fully_connected(x.flatten(1), D.b4.fc), D.b4.out)
