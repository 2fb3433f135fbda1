"""Building blocks of the published encoders, by the published tensor names.

IR-SE50 is the backbone of ArcFace (Deng et al. 2019) with squeeze-and-excitation (Hu et al. 2018); the residual block
is that of ResNet (He et al. 2016); the style head that of pSp (Richardson et al. 2021).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pipeline.gan.networks import FullyConnected
from pipeline.inversion.encoders.norms import BatchNorm

REDUCTION = 16


class SqueezeExcitation(nn.Module):
    """Weigh channels by what all places together say: [N, C, H, W] → the same."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fc1 = nn.Conv2d(channels, channels // REDUCTION, 1, bias=False)
        self.fc2 = nn.Conv2d(channels // REDUCTION, channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Scale each channel by a factor in 0 … 1."""
        return x * self.fc2(F.relu(self.fc1(x.mean((2, 3), keepdim=True)))).sigmoid()


class ImprovedResidual(nn.Module):
    """IR-SE50's unit: norm, convolution, PReLU, convolution with stride, norm, excitation; beside it a shortcut."""

    def __init__(self, channels: int, out: int, stride: int) -> None:
        super().__init__()
        self.shortcut_layer: nn.Module
        if channels == out:
            self.shortcut_layer = nn.MaxPool2d(1, stride)
        else:
            self.shortcut_layer = nn.Sequential(nn.Conv2d(channels, out, 1, stride, bias=False), BatchNorm(out))
        self.res_layer = nn.Sequential(
            BatchNorm(channels),
            nn.Conv2d(channels, out, 3, 1, 1, bias=False),
            nn.PReLU(out),
            nn.Conv2d(out, out, 3, stride, 1, bias=False),
            BatchNorm(out),
            SqueezeExcitation(out),
        )

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] → [N, C', H / stride, W / stride]."""
        y: Tensor = self.shortcut_layer(x) + self.res_layer(x)
        return y


class BasicBlock(nn.Module):
    """ResNet's unit of two convolutions, the first with the stride."""

    def __init__(self, channels: int, out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, out, 3, stride, 1, bias=False)
        self.bn1 = BatchNorm(out)
        self.conv2 = nn.Conv2d(out, out, 3, 1, 1, bias=False)
        self.bn2 = BatchNorm(out)
        self.downsample: nn.Module | None = None
        if stride != 1 or channels != out:
            self.downsample = nn.Sequential(nn.Conv2d(channels, out, 1, stride, bias=False), BatchNorm(out))

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] → [N, C', H / stride, W / stride]."""
        shortcut = x if self.downsample is None else self.downsample(x)
        return F.relu(self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x))))) + shortcut)


class Bottleneck(nn.Module):
    """ResNet-50's unit: narrow 1×1, 3×3 with the stride, widen 1×1. Never trained here."""

    EXPANSION = 4

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        out = width * self.EXPANSION
        self.conv1 = nn.Conv2d(channels, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, out, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(out)
        self.downsample: nn.Module | None = None
        if stride != 1 or channels != out:
            self.downsample = nn.Sequential(nn.Conv2d(channels, out, 1, stride, bias=False), nn.BatchNorm2d(out))

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] → [N, 4 · width, H / stride, W / stride]."""
        shortcut = x if self.downsample is None else self.downsample(x)
        y = F.relu(self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x))))))
        return F.relu(self.bn3(self.conv3(y)) + shortcut)


class GradualStyle(nn.Module):
    """pSp's style head: stride-2 convolutions down to one place, then a linear layer."""

    def __init__(self, channels: int, w_dim: int, spatial: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for _ in range(spatial.bit_length() - 1):
            layers += [nn.Conv2d(channels, channels, 3, 2, 1), nn.LeakyReLU(0.01)]
        self.convs = nn.Sequential(*layers)
        self.linear = FullyConnected(channels, w_dim)

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, spatial, spatial] → [N, w_dim]."""
        style: Tensor = self.linear(self.convs(x).flatten(1))
        return style


class PlacedStyle(nn.Module):
    """The narrow style head: few channels at 4 × 4 places, all of them read by one linear layer.

    What a place shows stays apart from what another does, where a head that shrinks to one place needs many channels
    to remember it. The linear layer has no equalised learning rate, as the published one has: scaled by 1/√512, its
    weights would take a thousand steps to become of use, which a short training has not got. It begins small, so that
    the first codes are near the mean one.
    """

    PLACES = 4

    def __init__(self, channels: int, w_dim: int, spatial: int) -> None:
        super().__init__()
        width = max(8, min(32, 4096 // w_dim))  # the linear layer has at most 65,536 weights
        layers: list[nn.Module] = []
        for _ in range(max(0, spatial.bit_length() - self.PLACES.bit_length())):
            layers += [nn.Conv2d(channels, width, 3, 2, 1), nn.LeakyReLU(0.2)]
            channels = width
        if not layers:
            layers = [nn.Conv2d(channels, width, 1), nn.LeakyReLU(0.2)]
        self.convs = nn.Sequential(*layers)
        self.linear = nn.Linear(width * min(spatial, self.PLACES) ** 2, w_dim)
        with torch.no_grad():
            self.linear.weight.mul_(0.1)

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, spatial, spatial] → [N, w_dim]."""
        style: Tensor = self.linear(self.convs(x).flatten(1))
        return style
