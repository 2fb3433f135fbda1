"""VGG16 (Simonyan and Zisserman 2015): features for precision and recall, and the LPIPS distance for path lengths.

The weights are the user's to give: ImageNet's VGG16 as a PyTorch state dictionary (``features.0.weight`` …), and for
LPIPS the five linear layers of its version 0.1 (``lin0.model.1.weight`` …; Zhang et al. 2018).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SIDE, FEATURES = 224, 4096
_WIDTHS = (64, 64, 0, 128, 128, 0, 256, 256, 256, 0, 512, 512, 512, 0, 512, 512, 512, 0)  # 0: halve by maximum
TAPS = (3, 8, 15, 22, 29)  # the last ReLU before each halving
_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet, in [0, 1]


class VGG16(nn.Module):
    """The network up to its second fully connected layer. Images are [N, 3, H, W] in [−1, 1]."""

    mean: Tensor
    deviation: Tensor

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = 3
        for width in _WIDTHS:
            layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU()] if width else [nn.MaxPool2d(2)]
            channels = width or channels
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Sequential(
            nn.Linear(512 * 7 * 7, FEATURES), nn.ReLU(), nn.Identity(), nn.Linear(FEATURES, FEATURES), nn.ReLU()
        )
        # What brings [−1, 1] to ImageNet's mean and deviation; part of the network, not of its file.
        self.register_buffer("mean", 2 * torch.tensor(_MEAN)[:, None, None] - 1, persistent=False)
        self.register_buffer("deviation", 2 * torch.tensor(_DEVIATION)[:, None, None], persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Return the activations of the second fully connected layer, [N, 4096]; images are 224 px."""
        return self.classifier(self.features((images - self.mean) / self.deviation).flatten(1))

    def taps(self, images: Tensor) -> list[Tensor]:
        """Return the activations [N, C, h, w] at `TAPS`."""
        x, found = (images - self.mean) / self.deviation, []
        for index, layer in enumerate(self.features):
            x = layer(x)
            if index in TAPS:
                found.append(x)
        return found


class LinearLayers(nn.Module):
    """LPIPS's weights of the channels at each tap, by the names of its file."""

    def __init__(self) -> None:
        super().__init__()
        for index, channels in enumerate((64, 128, 256, 512, 512)):
            self.add_module(f"lin{index}", nn.Module())
            layer = nn.Sequential(nn.Identity(), nn.Conv2d(channels, 1, 1, bias=False))
            self.get_submodule(f"lin{index}").add_module("model", layer)

    def weights(self) -> list[Tensor]:
        """Return [1, C, 1, 1] for each tap."""
        return [self.get_submodule(f"lin{index}.model.1").get_parameter("weight") for index in range(len(TAPS))]


def lpips(network: VGG16, layers: LinearLayers, a: Tensor, b: Tensor, widest: int = 256) -> Tensor:
    """Return the LPIPS distance [N] of images [N, 3, H, W] in [−1, 1]; larger ones are reduced to ``widest`` first."""
    if a.shape[-1] > widest:
        a, b = (F.interpolate(x, size=(widest, widest), mode="area") for x in (a, b))
    total = torch.zeros(len(a), dtype=a.dtype, device=a.device)
    for x, y, weight in zip(network.taps(a), network.taps(b), layers.weights(), strict=True):
        x, y = (t / (t.square().sum(1, keepdim=True).sqrt() + 1e-10) for t in (x, y))
        total += (weight * (x - y).square()).sum(1).mean((1, 2))
    return total
