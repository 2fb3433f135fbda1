"""What to read an atlas's table by: what the photographs themselves hold, and what their colour alone tells."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F

from atlas.progress import Progress, silent
from pipeline.features import load_efficientnet_lite0
from pipeline.photos.dataset import Dataset

REFERENCES = ("features", "colour")
"""Pooled EfficientNet-Lite0 features (1,280 numbers), and the mean red, green and blue (3)."""

_SMALLEST, _LARGEST = 128, 224  # the network was trained at 224 px and sees nothing in stamps
_BATCH = 32


def reference_codes(
    dataset: Dataset, rows: np.ndarray, device: str, progress: Progress = silent
) -> dict[str, np.ndarray]:
    """Describe photographs without the generator.

    Args:
        dataset: the photographs.
        rows: [N] which of them.
        device: where PyTorch runs.
        progress: told of photographs.

    Returns:
        ``features`` [N, 1280] and ``colour`` [N, 3], float32.
    """
    network = load_efficientnet_lite0(device)
    features, colours = [], []
    for start in range(0, len(rows), _BATCH):
        images = dataset.images(rows[start : start + _BATCH])
        colours.append(images.mean((1, 2), dtype=np.float64).astype(np.float32) / 255)
        x = torch.from_numpy(images).to(device).permute(0, 3, 1, 2).float() / 127.5 - 1
        with torch.no_grad():
            features.append(network.pooled(_resized(x)).cpu().numpy())
        progress(min(start + _BATCH, len(rows)), len(rows))
    return {"features": np.concatenate(features), "colour": np.concatenate(colours)}


def _resized(images: torch.Tensor) -> torch.Tensor:
    size = images.shape[-1]
    wanted = min(max(size, _SMALLEST), _LARGEST)
    if wanted == size:
        return images
    return F.interpolate(images, size=(wanted, wanted), mode="bilinear", antialias=size > wanted, align_corners=False)
