"""A picture to draw on in shares of its side, several times as fine as what comes out."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

Colour = tuple[float, float, float]
Point = tuple[float, float]


def hsv(hue: float, saturation: float, value: float) -> Colour:
    """Return the colour of a hue in degrees, and saturation and value in 0 … 1, as RGB in 0 … 1."""
    return colorsys.hsv_to_rgb(hue / 360 % 1, saturation, value)


def grey(tone: float, warmth: float = 0.0) -> Colour:
    """Return a grey, a little redder (``warmth`` > 0) or bluer."""
    return (tone + warmth, tone, tone - warmth)


def mix(a: Colour, b: Colour, share: float) -> Colour:
    """Return ``a`` with ``share`` of ``b``."""
    return (a[0] + (b[0] - a[0]) * share, a[1] + (b[1] - a[1]) * share, a[2] + (b[2] - a[2]) * share)


def dim(colour: Colour, factor: float) -> Colour:
    """Return ``colour`` times ``factor``."""
    return (colour[0] * factor, colour[1] * factor, colour[2] * factor)


def rgba(colour: Colour, opacity: float = 1.0) -> tuple[int, int, int, int]:
    """Return the colour in bytes, clipped."""
    r, g, b = (round(255 * min(1.0, max(0.0, c))) for c in colour)
    return (r, g, b, round(255 * opacity))


@dataclass(frozen=True)
class Camera:
    """How the scene, in shares of the picture's side, is moved and enlarged about its middle."""

    shift_x: float = 0.0
    shift_y: float = 0.0
    zoom: float = 1.0


class Canvas:
    """Draws shapes given in scene coordinates: x to the right, y downward, the picture about 0 … 1 on both."""

    def __init__(self, size: int, camera: Camera) -> None:
        self._size = size
        self.side = size * _fineness(size)
        self._camera = camera
        self._image = Image.new("RGB", (self.side, self.side))
        self._draw = ImageDraw.Draw(self._image, "RGBA")
        self._opaque = ImageDraw.Draw(self._image)

    def px(self, x: float) -> float:
        """Return the column of scene coordinate ``x``."""
        return ((x - 0.5) * self._camera.zoom + 0.5 + self._camera.shift_x) * self.side

    def py(self, y: float) -> float:
        """Return the row of scene coordinate ``y``."""
        return ((y - 0.5) * self._camera.zoom + 0.5 + self._camera.shift_y) * self.side

    def columns(self) -> np.ndarray:
        """Return the scene coordinate x of every column, [side]."""
        centres = (np.arange(self.side) + 0.5) / self.side
        return (centres - 0.5 - self._camera.shift_x) / self._camera.zoom + 0.5

    def rows(self) -> np.ndarray:
        """Return the scene coordinate y of every row, [side]."""
        centres = (np.arange(self.side) + 0.5) / self.side
        return (centres - 0.5 - self._camera.shift_y) / self._camera.zoom + 0.5

    def _points(self, points: Sequence[Point]) -> list[Point]:
        return [(self.px(x), self.py(y)) for x, y in points]

    def poly(self, points: Sequence[Point], colour: Colour, opacity: float = 1.0) -> None:
        """Fill a polygon."""
        self._draw.polygon(self._points(points), fill=rgba(colour, opacity))

    def rect(self, x0: float, y0: float, x1: float, y1: float, colour: Colour, opacity: float = 1.0) -> None:
        """Fill a rectangle; its edges fall between pixels, so that neighbours meet and do not overlap."""
        left, top = round(self.px(x0)), round(self.py(y0))
        right, bottom = round(self.px(x1)) - 1, round(self.py(y1)) - 1
        if right >= left and bottom >= top:
            self._draw.rectangle((left, top, right, bottom), fill=rgba(colour, opacity))

    def ellipse(self, x0: float, y0: float, x1: float, y1: float, colour: Colour, opacity: float = 1.0) -> None:
        """Fill the ellipse in a box."""
        self._draw.ellipse((self.px(x0), self.py(y0), self.px(x1), self.py(y1)), fill=rgba(colour, opacity))

    def tufts(self, boxes: np.ndarray, colour: Colour, tones: np.ndarray) -> None:
        """Fill many small ellipses, each a tone of one colour: ``boxes`` [n, 4] as x, y, half width, half height."""
        x, y, half_width, half_height = boxes.T
        scale = self._camera.zoom * self.side
        px, py = self.px(0) + x * scale, self.py(0) + y * scale
        rx, ry = half_width * scale, half_height * scale
        corners = np.stack([px - rx, py - ry, px + rx, py + ry], -1).tolist()
        inks = np.round(255 * np.clip(tones[:, None] * np.array(colour), 0, 1)).astype(int).tolist()
        for corner, ink in zip(corners, inks, strict=True):
            self._opaque.ellipse(corner, fill=tuple(ink))

    def line(self, points: Sequence[Point], width: float, colour: Colour, opacity: float = 1.0) -> None:
        """Draw a line."""
        pixels = max(1, round(width * self._camera.zoom * self.side))
        self._draw.line(self._points(points), fill=rgba(colour, opacity), width=pixels, joint="curve")

    def gradient(self, y0: float, y1: float, top: Colour, bottom: Colour) -> None:
        """Fill the whole width between two heights, from one colour to another."""
        first, last = max(0, round(self.py(y0))), min(self.side, round(self.py(y1)))
        if last <= first:
            return
        share = np.linspace(0, 1, last - first)[:, None]
        strip = np.array(top) * (1 - share) + np.array(bottom) * share
        pixels = np.round(255 * np.clip(strip, 0, 1)).astype(np.uint8)[:, None, :]
        self._image.paste(Image.fromarray(np.ascontiguousarray(pixels)).resize((self.side, last - first)), (0, first))

    def blend(self, colour: Colour, opacity: np.ndarray) -> None:
        """Lay a colour over the whole picture, by ``opacity`` [h, w] in 0 … 1, which is enlarged smoothly."""
        mask = Image.fromarray(np.round(255 * np.clip(opacity, 0, 1)).astype(np.uint8))
        self._image.paste(rgba(colour)[:3], (0, 0), mask.resize(self._image.size, Image.Resampling.BICUBIC))

    def texture(self, points: Sequence[Point], texture: Image.Image) -> None:
        """Show ``texture``, as large as the canvas, inside a polygon."""
        mask = Image.new("1", self._image.size)
        ImageDraw.Draw(mask).polygon(self._points(points), fill=1)
        self._image.paste(texture, (0, 0), mask)

    def reduced(self) -> np.ndarray:
        """Return the picture at its size, [size, size, 3] float32 in 0 … 1, every edge smooth."""
        small = self._image.resize((self._size, self._size), Image.Resampling.LANCZOS)
        return np.asarray(small, np.float32) / 255


def box(x0: float, y0: float, x1: float, y1: float) -> list[Point]:
    """Return the corners of a rectangle."""
    return [(x0, y0), (x1, y0), (x1, y1), (x0, y1)]


def _fineness(size: int) -> int:
    """Return how many times finer than the result is drawn: 4, and less only where that costs more than it shows."""
    return 4 if size <= 256 else 2
