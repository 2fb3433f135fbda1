"""VGG16 (Simonyan and Zisserman 2015): features for precision and recall.

The weights are the user's to give: ImageNet's VGG16 as a PyTorch state dictionary (``features.0.weight`` …).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

SIDE, FEATURES = 224, 4096
_WIDTHS = (64, 64, 0, 128, 128, 0, 256, 256, 256, 0, 512, 512, 512, 0, 512, 512, 512, 0)  # 0: halve by maximum
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
