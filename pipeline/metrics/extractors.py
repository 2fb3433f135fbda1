"""Feature networks by name: images in, one vector each out. What is shown is named after the network it rests on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from atlas.files import sha256_path
from atlas.progress import Progress, silent
from pipeline.features import (
    PERCEPTUAL_NAME,
    load_efficientnet_lite0,
    load_perceptual,
    perceptual_distance,
    weights_sha256,
)
from pipeline.lpips import load_lpips
from pipeline.metrics import inception, vgg
from pipeline.weights import fill, read_tensors

BATCH = 16
LITE0_SIDE = 224  # what it was trained at
LPIPS_SIDE = 256  # larger images are reduced to it for path lengths


@dataclass(frozen=True)
class Extractor:
    """A function from images to features.

    Attributes:
        name: of the network, as it is shown: "EfficientNet-Lite0", "Inception-v3 (FID, 2015-12-05)", "VGG16".
        layer: which of its activations.
        resize: how images are brought to its size.
        sha256: of its weights' file.
        function: images [N, 3, H, W] float32 in [−1, 1] → features [N, F].
    """

    name: str
    layer: str
    resize: str
    sha256: str
    function: Callable[[Tensor], Tensor]

    def facts(self) -> dict[str, str]:
        """Return what a number made with it must say."""
        return {"network": self.name, "layer": self.layer, "resize": self.resize, "sha256": self.sha256}


@dataclass(frozen=True)
class Distance:
    """A perceptual distance of images [N, 3, H, W] in [−1, 1]: its name as it is shown, its weights, and itself."""

    name: str
    sha256: str
    function: Callable[[Tensor, Tensor], Tensor]


def lite0(device: str) -> Extractor:
    """Return EfficientNet-Lite0's pooled features: its weights come with the software."""
    network = load_efficientnet_lite0(device)

    def features(images: Tensor) -> Tensor:
        images = _resized(images, LITE0_SIDE, antialias=True)
        return network.pooled(images.contiguous(memory_format=torch.channels_last))

    resize = f"bilinear, antialiased, to {LITE0_SIDE} px"
    return Extractor("EfficientNet-Lite0", "1,280 pooled", resize, weights_sha256(), features)


def inception_v3(path: Path, device: str) -> Extractor:
    """Return the features of the Fréchet Inception Distance, from the user's file of its weights.

    Raises:
        InputError: the file holds something else.
    """
    network = inception.Inception()
    fill(network, read_tensors(path), path, "the Inception-v3 of FID", unused=("fc.", "AuxLogits."))
    network.to(device)

    def features(images: Tensor) -> Tensor:
        return network(_resized(images, inception.SIDE, antialias=False))

    resize = f"bilinear, not antialiased, to {inception.SIDE} px"
    return Extractor("Inception-v3 (FID, 2015-12-05)", "2,048 pooled", resize, sha256_path(path), features)


def vgg16(path: Path, device: str) -> Extractor:
    """Return VGG16's second fully connected layer, from the user's file of its weights. Errors as `inception_v3`."""
    network = vgg.VGG16()
    fill(network, read_tensors(path), path, "ImageNet's VGG16", unused=("classifier.6.",))
    network.to(device)

    def features(images: Tensor) -> Tensor:
        return network(_resized(images, vgg.SIDE, antialias=True))

    resize = f"bilinear, antialiased, to {vgg.SIDE} px"
    return Extractor("VGG16", "4,096 of the second fully connected layer", resize, sha256_path(path), features)


def lite0_distance(device: str) -> Distance:
    """Return the EfficientNet-Lite0 perceptual distance, in float64."""
    network = load_perceptual(device).double()
    return Distance(PERCEPTUAL_NAME, weights_sha256(), lambda a, b: perceptual_distance(network, a, b))


def lpips_distance(vgg_path: Path, linear_path: Path, device: str) -> Distance:
    """Return LPIPS with VGG16, in float64, from the user's two files; of larger images at 256 px, as published.

    Errors as `pipeline.lpips.load_lpips`.
    """
    network = load_lpips(vgg_path, linear_path, "vgg16").double().to(device)

    def distance(a: Tensor, b: Tensor) -> Tensor:
        if a.shape[-1] > LPIPS_SIDE:
            a, b = (F.interpolate(x, size=(LPIPS_SIDE, LPIPS_SIDE), mode="area") for x in (a, b))
        return perceptual_distance(network, a, b)

    return Distance(network.name, f"{sha256_path(vgg_path)} {sha256_path(linear_path)}", distance)


@torch.no_grad()
def extract(
    extractor: Extractor,
    images: Callable[[int, int], np.ndarray],
    count: int,
    device: str,
    progress: Progress = silent,
) -> np.ndarray:
    """Return the features of many images, a batch at a time.

    Args:
        extractor: of features.
        images: gives images number ``start`` … ``stop − 1``, [n, H, W, 3] uint8.
        count: how many there are.
        device: where the network is.
        progress: told of images.

    Returns:
        [count, F] float32.
    """
    parts = []
    for start in range(0, count, BATCH):
        stop = min(start + BATCH, count)
        pixels = torch.from_numpy(images(start, stop)).to(device).permute(0, 3, 1, 2)
        parts.append(extractor.function(pixels.float() / 127.5 - 1).float().cpu().numpy())
        progress(stop, count)
    return np.concatenate(parts)


def _resized(images: Tensor, side: int, antialias: bool) -> Tensor:
    if images.shape[-2:] == (side, side):
        return images
    return F.interpolate(images, size=(side, side), mode="bilinear", align_corners=False, antialias=antialias)
