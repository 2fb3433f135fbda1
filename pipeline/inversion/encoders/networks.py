"""The encoders' networks: an image (ReStyle: and its reconstruction) → raw codes, the latent average not yet added.

e4e: Tov et al. 2021, *Designing an Encoder for StyleGAN Image Manipulation*. ReStyle: Alaluf et al. 2021, *ReStyle: A
Residual-Based StyleGAN Encoder via Iterative Refinement*. Tensors have the published names. Letters: N batch, L styles
(num_ws), D w_dim.
"""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pipeline.inversion.encoders.architecture import EncoderArchitecture
from pipeline.inversion.encoders.blocks import BasicBlock, GradualStyle, ImprovedResidual, PlacedStyle
from pipeline.inversion.encoders.norms import BatchNorm

# Styles below the first are read from the coarsest features, below the second from the middle ones, the rest from the
# finest.
MIDDLE_FROM, FINE_FROM = 3, 7
_WIDE = 512  # channels that the published heads read
_IR_SE50 = ((64, 3), (128, 4), (256, 14), (512, 3))  # channels, units; the first of each halves the size
_RESNET34 = ((64, 3), (128, 4), (256, 6), (512, 3))


class StyleEncoder(nn.Module):
    """What all encoders share: styles read from feature maps, each for itself or as differences from the first."""

    styles: nn.ModuleList

    def __init__(self, arch: EncoderArchitecture) -> None:
        super().__init__()
        self.architecture = arch

    def maps(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the features [N, C, h, w] that coarse, middle and fine styles are read from."""
        raise NotImplementedError

    def forward(self, x: Tensor, stage: int | None = None) -> Tensor:
        """Encode images.

        Args:
            x: [N, 3 or 6, size, size] in [-1, 1].
            stage: of a progressive encoder: styles 1 … stage have their difference added, later ones equal the
                first; None for all.

        Returns:
            [N, L, D], the latent average not added.
        """
        arch, maps = self.architecture, self.maps(x)
        if not arch.progressive:
            return torch.stack([style(maps[level_of(i)]) for i, style in enumerate(self.styles)], 1)
        last = arch.last_stage if stage is None else min(stage, arch.last_stage)
        first = self.styles[0](maps[0])
        codes = [first] + [first + self.styles[i](maps[level_of(i)]) for i in range(1, last + 1)]
        return torch.stack(codes + [first] * (arch.num_ws - len(codes)), 1)


def level_of(style: int) -> int:
    """Return which features a style is read from: 0 the coarsest, 2 the finest."""
    return int(style >= MIDDLE_FROM) + int(style >= FINE_FROM)


def _published_styles(arch: EncoderArchitecture) -> nn.ModuleList:
    coarse = arch.size // 16
    levels = [level_of(i) if arch.heads == "pyramid" else 0 for i in range(arch.num_ws)]
    return nn.ModuleList(GradualStyle(_WIDE, arch.w_dim, coarse << level) for level in levels)


def _add_enlarged(small: Tensor, large: Tensor) -> Tensor:
    return F.interpolate(small, size=large.shape[2:], mode="bilinear", align_corners=True) + large


class IRSE50Encoder(StyleEncoder):
    """IR-SE50 with a feature pyramid (e4e, "Encoder4Editing") or simple heads (ReStyle for faces)."""

    _TAPS = (6, 20, 23)  # the last units at 1/4, 1/8 and 1/16 of the size

    def __init__(self, arch: EncoderArchitecture) -> None:
        super().__init__(arch)
        self.input_layer = nn.Sequential(
            nn.Conv2d(arch.in_channels, 64, 3, 1, 1, bias=False), BatchNorm(64), nn.PReLU(64)
        )
        units, channels = [], 64
        for out, count in _IR_SE50:
            for i in range(count):
                units.append(ImprovedResidual(channels, out, 2 if i == 0 else 1))
                channels = out
        self.body = nn.Sequential(*units)
        self.styles = _published_styles(arch)
        if arch.heads == "pyramid":
            self.latlayer1 = nn.Conv2d(256, _WIDE, 1)
            self.latlayer2 = nn.Conv2d(128, _WIDE, 1)

    def maps(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the pyramid, 1/16, 1/8 and 1/4 of the size; with simple heads, 1/16 three times."""
        x = self.input_layer(x)
        taps = []
        for i, unit in enumerate(self.body):
            x = unit(x)
            if i in self._TAPS:
                taps.append(x)
        fine, middle, coarse = taps
        if self.architecture.heads == "simple":
            return coarse, coarse, coarse
        p2 = _add_enlarged(coarse, self.latlayer1(middle))
        return coarse, p2, _add_enlarged(p2, self.latlayer2(fine))


class ResNet34Encoder(StyleEncoder):
    """ReStyle's "simpler" encoder for other things than faces: ResNet34 without its max-pooling, PReLU in the stem."""

    def __init__(self, arch: EncoderArchitecture) -> None:
        super().__init__(arch)
        self.conv1 = nn.Conv2d(arch.in_channels, 64, 7, 2, 3, bias=False)
        self.bn1 = BatchNorm(64)
        self.relu = nn.PReLU(64)
        blocks, channels = [], 64
        for level, (out, count) in enumerate(_RESNET34):
            for i in range(count):
                blocks.append(BasicBlock(channels, out, 2 if level and i == 0 else 1))
                channels = out
        self.body = nn.Sequential(*blocks)
        self.styles = _published_styles(arch)

    def maps(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the last features, 1/16 of the size, three times."""
        x = self.body(self.relu(self.bn1(self.conv1(x))))
        return x, x, x


class NarrowEncoder(StyleEncoder):
    """For generators of 32 to 128 px on a processor: a short residual pyramid with about a million weights.

    It halves the size down to 4 × 4. Heads are `PlacedStyle`: with few channels, places must be kept apart. Pyramid
    heads read 4 × 4, 8 × 8 and 16 × 16 as the published ones read 1/16, 1/8 and 1/4 of 256 px; simple ones 8 × 8, to
    which 4 × 4 is added: at 4 × 4 a door is lost.
    """

    _WIDTHS = (32, 48, 64, 96, 128, 128)  # at the size itself, 1/2, 1/4 … ; the last for all that follow
    _PYRAMID = 64

    def __init__(self, arch: EncoderArchitecture) -> None:
        super().__init__(arch)
        halvings = max(0, arch.size.bit_length() - 3)
        # A smaller image begins wider, so that 4 × 4 is always as wide.
        begin = max(0, len(self._WIDTHS) - 2 - halvings)
        widths = [self._WIDTHS[min(begin + i, len(self._WIDTHS) - 1)] for i in range(halvings + 1)]
        self.stem = nn.Sequential(
            nn.Conv2d(arch.in_channels, widths[0], 3, 1, 1, bias=False), BatchNorm(widths[0]), nn.ReLU()
        )
        self.body = nn.Sequential(*(BasicBlock(a, b, 2) for a, b in pairwise(widths)))
        levels = [min(level, halvings) for level in ((1, 1, 1) if arch.heads == "simple" else (0, 1, 2))]
        self.laterals = nn.ModuleList(nn.Conv2d(width, self._PYRAMID, 1) for width in widths[::-1][: levels[-1] + 1])
        self._levels = levels
        coarse = min(arch.size, 4)
        self.styles = nn.ModuleList(
            PlacedStyle(self._PYRAMID, arch.w_dim, coarse << levels[level_of(i)]) for i in range(arch.num_ws)
        )
        for parameter in self.parameters():
            if parameter.ndim == 4:  # measured a fifth faster on a processor
                parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)

    def maps(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the features for coarse, middle and fine styles."""
        taps = [self.stem(x.contiguous(memory_format=torch.channels_last))]
        for block in self.body:
            taps.append(block(taps[-1]))
        found = [self.laterals[0](taps[-1])]
        for level, lateral in enumerate(list(self.laterals)[1:], 1):
            found.append(F.interpolate(found[-1], scale_factor=2.0, mode="nearest") + lateral(taps[-1 - level]))
        coarse, middle, fine = (found[level] for level in self._levels)
        return coarse, middle, fine


_CLASSES: dict[str, type[StyleEncoder]] = {
    "ir-se50": IRSE50Encoder,
    "resnet34": ResNet34Encoder,
    "narrow": NarrowEncoder,
}


def build(arch: EncoderArchitecture) -> StyleEncoder:
    """Return the network of an architecture with fresh weights."""
    return _CLASSES[arch.backbone](arch)
