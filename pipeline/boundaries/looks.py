"""Plain measures of what is in a picture of a street: greenery, sky, light, colour, edges.

Each is a rule on pixels, the same for a photograph and for what a generator draws. They describe; none of them knows
what deprivation is.
"""

from __future__ import annotations

import numpy as np

HUES = 12
"""Parts of the hue circle in the histogram, each 30°, the first centred on red."""

LOOKS = ("vegetation", "sky", "brightness", "saturation", "edges", *(f"hue {30 * k}" for k in range(HUES)))

_LUMA = np.array([0.299, 0.587, 0.114], np.float32)
_GREEN = 0.1  # of the excess-green index 2g − r − b on chromatic coordinates (Woebbecke et al. 1995)
_EDGE = 0.15  # of the luma's gradient a pixel, 0 … 1
_CHUNK = 32


def looks(images: np.ndarray) -> dict[str, np.ndarray]:
    """Measure images.

    Args:
        images: [N, H, W, 3] uint8.

    Returns:
        By name of `LOOKS`, [N] float64 in 0 … 1: ``vegetation``, the share of pixels whose excess-green index is above
        0.1; ``sky``, the share of pixels in the upper half that are light and blue, or very light and grey;
        ``brightness``, mean luma; ``saturation``, mean of HSV; ``edges``, the share of pixels where the luma changes by
        more than 0.15 a pixel; ``hue 0`` … ``hue 330``, the share of the colour (chroma) that has this hue.
    """
    parts = [_looks(images[i : i + _CHUNK].astype(np.float32) / 255) for i in range(0, len(images), _CHUNK)]
    return {name: np.concatenate([p[name] for p in parts]).astype(np.float64) for name in LOOKS}


def _looks(x: np.ndarray) -> dict[str, np.ndarray]:
    high, low = x.max(-1), x.min(-1)
    chroma = high - low
    saturation = chroma / np.maximum(high, 1e-6)
    hue = _hue(x, high, chroma)
    r, g, b = np.moveaxis(x / np.maximum(x.sum(-1, keepdims=True), 1e-6), -1, 0)
    top = slice(0, x.shape[1] // 2)
    blue = (high > 0.5) & (saturation > 0.08) & (hue > 180) & (hue < 260)
    grey = (high > 0.75) & (saturation <= 0.12)
    found = {
        "vegetation": _mean(2 * g - r - b > _GREEN),
        "sky": _mean((blue | grey)[:, top]),
        "brightness": _mean(x @ _LUMA),
        "saturation": _mean(saturation),
        "edges": _edges(x @ _LUMA),
    }
    return found | _histogram(hue, chroma)


def _hue(x: np.ndarray, high: np.ndarray, chroma: np.ndarray) -> np.ndarray:
    """Return degrees, 0 … 360."""
    r, g, b = np.moveaxis(x, -1, 0)
    span = np.maximum(chroma, 1e-6)
    sector = np.where(high == r, (g - b) / span % 6, np.where(high == g, (b - r) / span + 2, (r - g) / span + 4))
    return 60 * sector


def _edges(luma: np.ndarray) -> np.ndarray:
    down, across = np.diff(luma, axis=1)[:, :, :-1], np.diff(luma, axis=2)[:, :-1]
    return _mean(np.hypot(down, across) > _EDGE)


def _histogram(hue: np.ndarray, chroma: np.ndarray) -> dict[str, np.ndarray]:
    part = np.round(hue / (360 / HUES)).astype(int) % HUES
    total = np.maximum(chroma.sum((1, 2)), 1e-6)
    return {f"hue {30 * k}": np.where(part == k, chroma, 0).sum((1, 2)) / total for k in range(HUES)}


def _mean(values: np.ndarray) -> np.ndarray:
    mean: np.ndarray = values.mean((1, 2))
    return mean
