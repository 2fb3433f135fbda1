"""Reading the planted attributes back from pixels, in photographs of the street or in what a generator makes of it.

Each rule uses only what is fixed about the street: hedges are green and stand between pavement and windows, doors are
the most saturated thing at street level, bricks fill the upper wall, and the pavement, where no car can stand, tells
how bright the day is.
"""

from __future__ import annotations

import numpy as np

from pipeline.photos.calibration.attributes import DOOR_HUES
from pipeline.photos.calibration.brick import TONES
from pipeline.photos.calibration.surroundings import HEDGE_HIGHEST

_CHUNK = 64
_HEDGE_ROWS, _DOOR_ROWS, _BRICK_ROWS, _PAVEMENT_ROWS = (0.55, 0.86), (0.50, 0.84), (0.34, 0.51), (0.86, 0.90)
_MIDDLE = (0.38, 0.62)  # columns that no car, tree or lamp covers
_PAVEMENT = 0.632  # red of the pavement on a day of gain 1
_JOINTS = 1.03  # bricks with their lighter joints, compared with bricks alone
_GREENS = (60.0, 180.0)
_BRICK_HUES, _BRICK_SATURATIONS = (2.0, 42.0), (0.27, 0.56)


def measure(images: np.ndarray) -> dict[str, np.ndarray]:
    """Measure the planted attributes of each image.

    Args:
        images: [N, size, size, 3] uint8 (or float in 0 … 255), any size from 16.

    Returns:
        ``hedge`` and ``brick_tone``, about 0 … 1, and ``door_hue`` in degrees within half a turn of the middle of
        `DOOR_HUES`; each [N] float64, on the scale of the attribute in ``photos.csv``.
    """
    if images.ndim != 4 or images.shape[1] != images.shape[2] or images.shape[3] != 3:
        raise ValueError(f"images must be [N, size, size, 3], got {images.shape}")
    rules = {"hedge": _hedge, "door_hue": _door_hue, "brick_tone": _brick_tone}
    found: dict[str, list[np.ndarray]] = {name: [] for name in rules}
    for start in range(0, len(images), _CHUNK):
        chunk = np.asarray(images[start : start + _CHUNK], np.float32) / 255
        for name, rule in rules.items():
            found[name].append(rule(chunk))
    return {name: np.concatenate([np.zeros(0), *parts]).astype(np.float64) for name, parts in found.items()}


def _band(images: np.ndarray, rows: tuple[float, float]) -> np.ndarray:
    size = images.shape[1]
    first, last = round(rows[0] * size), max(round(rows[1] * size), round(rows[0] * size) + 1)
    return images[:, first:last]


def _soft(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """Return 0 below ``low``, 1 above ``high``, and a straight line between."""
    soft: np.ndarray = np.clip((values - low) / (high - low), 0, 1)
    return soft


def _hsv(images: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return hue in degrees, saturation and value."""
    r, g, b = images[..., 0], images[..., 1], images[..., 2]
    value, low = images.max(-1), images.min(-1)
    chroma = value - low
    span = np.maximum(chroma, 1e-6)
    hue = np.where(value == r, (g - b) / span % 6, np.where(value == g, (b - r) / span + 2, (r - g) / span + 4))
    return 60 * hue, chroma / np.maximum(value, 1e-6), value


def _hedge(images: np.ndarray) -> np.ndarray:
    """Return the height of green above the garden wall, over most columns, as a share of the highest."""
    band = _band(images, _HEDGE_ROWS)
    other = np.maximum(band[..., 0], band[..., 2])
    green = _soft((band[..., 1] - other) / np.maximum(band[..., 1], 1e-6), 0.04, 0.22)
    heights = np.sort(green.sum(1) / images.shape[1], axis=1)
    # The lowest quarter of the columns are gate, trunk and lamp post.
    width = heights.shape[1]
    height: np.ndarray = heights[:, width // 4 : width - width // 10].mean(1) / HEDGE_HIGHEST
    return height


def _door_hue(images: np.ndarray) -> np.ndarray:
    """Return the mean hue of what is saturated at street level and not green."""
    hue, saturation, value = _hsv(_band(images, _DOOR_ROWS))
    painted = (hue < _GREENS[0]) | (hue > _GREENS[1])
    weight = (_soft(saturation, 0.50, 0.64) + 1e-3 * saturation) ** 2 * value * painted
    angle = np.radians(hue)
    x, y = (weight * np.cos(angle)).sum((1, 2)), (weight * np.sin(angle)).sum((1, 2))
    middle = sum(DOOR_HUES) / 2
    degrees: np.ndarray = middle + (np.degrees(np.arctan2(y, x)) - middle + 180) % 360 - 180
    return degrees


def _brick_tone(images: np.ndarray) -> np.ndarray:
    """Return the median tone of the bricks between the upper windows, for a pavement of the usual tone."""
    band = _band(images, _BRICK_ROWS)
    hue, saturation, value = _hsv(band)
    brick = (hue > _BRICK_HUES[0]) & (hue < _BRICK_HUES[1]) & (value > 0.15)
    brick &= (saturation > _BRICK_SATURATIONS[0]) & (saturation < _BRICK_SATURATIONS[1])
    brick |= ~brick.any((1, 2), keepdims=True)
    tone = np.nanmedian(np.where(brick, band[..., 0], np.nan), axis=(1, 2))
    size = images.shape[1]
    pavement = _band(images, _PAVEMENT_ROWS)[:, :, round(_MIDDLE[0] * size) : round(_MIDDLE[1] * size), 0]
    light = np.maximum(np.median(pavement, axis=(1, 2)) / _PAVEMENT, 1e-3)
    share: np.ndarray = (tone / light / _JOINTS - TONES[0]) / (TONES[1] - TONES[0])
    return share
