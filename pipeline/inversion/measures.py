"""How well a rendered image gives a photograph back: squared error, perceptual distance, structural similarity.

Images are [N, 3, H, W] in [-1, 1]; rendered ones are clipped to that range first, as they are when they are saved.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from atlas.errors import InputError
from pipeline.features import FeatureFunction, perceptual_distance
from pipeline.gan import Generator

MEASURES = ("l2", "perceptual", "ssim")
_SIGMA, _WINDOW = 1.5, 11
_C1, _C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
_LUMA = (0.299, 0.587, 0.114)


def l2(a: Tensor, b: Tensor) -> Tensor:
    """Return the mean squared difference of pixels in [-1, 1]: [N], 0 … 4."""
    return (a - b).square().mean((1, 2, 3))


def ssim(a: Tensor, b: Tensor) -> Tensor:
    """Return the structural similarity of the luma (Rec. 601) of images: [N], 1 for equal ones.

    As published (Wang et al. 2004): Gaussian window of σ 1.5 and 11 × 11 pixels (the largest odd one that fits smaller
    images), K₁ 0.01, K₂ 0.03, over the places where the window lies inside the image.
    """
    window = _gaussian(min(_WINDOW, a.shape[-1] - 1 + a.shape[-1] % 2))
    x, y = _luma(a), _luma(b)
    moments = _blur(torch.cat([x, y, x * x, y * y, x * y], 1), window)
    mean_x, mean_y, xx, yy, xy = moments.split(1, 1)
    var_x, var_y, cov = xx - mean_x**2, yy - mean_y**2, xy - mean_x * mean_y
    similarity = (2 * mean_x * mean_y + _C1) * (2 * cov + _C2)
    return (similarity / ((mean_x**2 + mean_y**2 + _C1) * (var_x + var_y + _C2))).mean((1, 2, 3))


@torch.no_grad()
def measure(generator: Generator, features: FeatureFunction, w: Tensor, images: Tensor) -> dict[str, np.ndarray]:
    """Render codes with the generator's own constant noise and compare with the photographs.

    Args:
        generator: in eval mode.
        features: of the perceptual distance.
        w: [N, num_ws, w_dim]; or [1, num_ws, w_dim], compared with all photographs.
        images: [N, 3, H, W] in [-1, 1].

    Returns:
        "l2", "perceptual", "ssim": [N] float32 each.
    """
    return measure_images(features, generator.synthesis(w, noise_mode="const"), images)


@torch.no_grad()
def measure_images(features: FeatureFunction, rendered: Tensor, images: Tensor) -> dict[str, np.ndarray]:
    """Compare rendered images [N or 1, 3, H, W] with photographs. Returns what `measure` does."""
    rendered = rendered.clamp(-1, 1).expand_as(images)
    values = {
        "l2": l2(rendered, images),
        "perceptual": perceptual_distance(features, rendered, images),
        "ssim": ssim(rendered, images),
    }
    return {name: value.float().cpu().numpy() for name, value in values.items()}


def require_images_of(generator: Generator, channels: int, height: int, width: int) -> None:
    """Refuse photographs that do not have the shape of the generator's images: nothing could be compared.

    Raises:
        InputError: another number of channels or another size.
    """
    size = generator.img_resolution
    if channels != generator.img_channels:
        raise InputError(
            f"photographs must have {generator.img_channels} channels as the generator's images do, got {channels}: "
            "`atlas dataset import` makes RGB of greyscale photographs"
        )
    if (height, width) != (size, size):
        raise InputError(
            f"photographs must be {size} × {size} as the generator's images are, got {width} × {height}: "
            f"make the dataset with --size {size}"
        )


def psnr(squared_error: np.ndarray) -> np.ndarray:
    """Return the peak signal-to-noise ratio in dB of mean squared differences of pixels in [-1, 1].

    The peak is the range, 2. An error below that of rounding to 16 bits counts as that, so that equal images have a
    ratio too: 107 dB.
    """
    least = (2 / 65535) ** 2 / 12
    decibels: np.ndarray = 10 * np.log10(4 / np.maximum(squared_error.astype(np.float64), least))
    return decibels


def _luma(images: Tensor) -> Tensor:
    """Return [N, 1, H, W] float64 on the scale 0 … 255; differences of squares need the digits."""
    weights = torch.tensor(_LUMA, dtype=torch.float64, device=images.device)
    return torch.einsum("nchw,c->nhw", (images.double() + 1) * 127.5, weights)[:, None]


def _gaussian(length: int) -> Tensor:
    x = torch.arange(length, dtype=torch.float64) - (length - 1) / 2
    weights = torch.exp(-(x**2) / (2 * _SIGMA**2))
    return weights / weights.sum()


def _blur(x: Tensor, window: Tensor) -> Tensor:
    channels, window = x.shape[1], window.to(x)
    rows = window.expand(channels, 1, 1, -1)
    return F.conv2d(F.conv2d(x, rows, groups=channels), rows.transpose(2, 3), groups=channels)
