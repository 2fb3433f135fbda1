"""Brickwork: rows of bricks, each a little different, and mortar between them."""

from __future__ import annotations

import numpy as np
from PIL import Image

from pipeline.photos.calibration.attributes import Facade
from pipeline.photos.calibration.canvas import Canvas, Colour, hsv

TONES = (0.36, 0.74)
"""Value (HSV) of the darkest and the lightest brick."""

_COURSE, _LENGTH, _JOINT = 0.0165, 0.046, 0.0032
_KINDS, _COURSES = 256, 32


def brick_colour(facade: Facade) -> Colour:
    """Return the mean colour of the bricks."""
    value = TONES[0] + (TONES[1] - TONES[0]) * facade.brick_tone
    return hsv(facade.brick_hue, facade.brick_saturation, value)


def brickwork(canvas: Canvas, facade: Facade, rng: np.random.Generator) -> Image.Image:
    """Return a picture as large as the canvas that is all bricks."""
    rows, columns = canvas.rows() / _COURSE, canvas.columns() / _LENGTH
    # One line of pixels for each of a few courses, and one of mortar; every row of the picture is one of these lines.
    tones = 1 + facade.brick_spread * rng.standard_normal(_KINDS)
    shift = rng.integers(0, _KINDS, _COURSES) + 0.5 * (np.arange(_COURSES) % 2)
    along = columns[None, :] + shift[:, None]
    mortar = 1 + facade.mortar
    factors = np.where((along % 1) < _JOINT / _LENGTH, mortar, tones[np.floor(along).astype(int) % _KINDS])
    factors = np.concatenate([factors, np.full((1, len(columns)), mortar)])
    lines = np.clip(factors[..., None] * np.array(brick_colour(facade)), 0, 1)
    line = np.where((rows % 1) < _JOINT / _COURSE, _COURSES, np.floor(rows).astype(int) % _COURSES)
    return Image.fromarray(np.round(255 * lines).astype(np.uint8)[line])
