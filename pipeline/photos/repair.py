"""One photograph of any kind, made into a square 8-bit RGB image of a given size."""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from dataclasses import dataclass

import numpy as np
from PIL import Image

FORMATS = ("JPEG", "PNG", "WEBP", "TIFF")
MAX_PIXELS = 80_000_000
RESIZE_FILTER = "lanczos"
CROPPED, PADDED = "cropped to a square", "padded to a square"
TURNED, CONVERTED, ENLARGED = "turned as EXIF says", "converted to RGB", "enlarged"
REPAIRS = (CONVERTED, TURNED, CROPPED, PADDED, ENLARGED)
SQUARES = ("crop", "pad")

_ORIENTATION = 0x0112
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SIXTEEN_BITS = ("I", "I;16", "I;16L", "I;16B", "I;16N")
# What Pillow raises on bytes that are not what they say; anything else is a fault of this program.
_DECODING = (OSError, SyntaxError, ValueError, EOFError, KeyError, IndexError, TypeError, struct.error, zlib.error)


class DamagedError(Exception):
    """These bytes are no photograph that can be used; the message says why."""


@dataclass(frozen=True)
class Repaired:
    """A photograph as the dataset needs it.

    Attributes:
        image: [size, size, 3] uint8.
        repairs: what was done to it: of `REPAIRS`.
    """

    image: np.ndarray
    repairs: tuple[str, ...]


def repair(data: bytes, size: int, square: str = "crop") -> Repaired:
    """Decode a photograph fully and make it square RGB.

    It is turned as its EXIF orientation says; greyscale, palette, CMYK and 16-bit become 8-bit RGB, transparency is
    laid on white; a square is made of it and resized by Lanczos. No JPEG is decoded at reduced size.

    Args:
        data: the photograph's file.
        size: side of the result.
        square: "crop": the largest centred square; "pad": all of it, centred, with black bars.

    Raises:
        DamagedError: not a JPEG, PNG, WebP or TIFF, cut short or corrupt, or larger than `MAX_PIXELS`.
    """
    try:
        with warnings.catch_warnings(action="ignore"), Image.open(io.BytesIO(data), formats=FORMATS) as opened:
            if opened.width * opened.height > MAX_PIXELS:
                raise DamagedError(_too_large(opened.width, opened.height))
            opened.load()
            turn, mode = _TURNS.get(_orientation(opened)), opened.mode
            rgb = _to_rgb(opened)
    except Image.DecompressionBombError as error:
        raise DamagedError(f"more than {MAX_PIXELS} pixels") from error
    except _DECODING as error:
        raise DamagedError(str(error).replace("<_io.BytesIO object", "<bytes")) from error
    repairs = []
    if mode != "RGB":
        repairs.append(CONVERTED)
    if turn is not None:
        rgb = rgb.transpose(turn)
        repairs.append(TURNED)
    if rgb.width != rgb.height:
        cropped = square == "crop"
        rgb = _centred(rgb, min(rgb.size) if cropped else max(rgb.size))
        repairs.append(CROPPED if cropped else PADDED)
    if rgb.width < size:
        repairs.append(ENLARGED)
    if rgb.width != size:
        rgb = rgb.resize((size, size), Image.Resampling.LANCZOS)
    return Repaired(np.asarray(rgb), tuple(repairs))


def _too_large(width: int, height: int) -> str:
    return f"{width} × {height} pixels, at most {MAX_PIXELS} are read"


def _orientation(image: Image.Image) -> int:
    """Return the EXIF orientation, 1 (upright) where there is none or it cannot be read."""
    try:
        value = image.getexif().get(_ORIENTATION, 1)
    except _DECODING:
        return 1
    return value if isinstance(value, int) else 1


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode in _SIXTEEN_BITS:
        values = np.clip(np.asarray(image).astype(np.int64), 0, 65535)
        return Image.fromarray(((values + 128) // 257).astype(np.uint8)).convert("RGB")
    if image.mode == "F":
        raise DamagedError("its pixels are floating-point numbers: save it with 8 bits per channel")
    if image.has_transparency_data:
        over = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", over.size, "white"), over).convert("RGB")
    return image.convert("RGB")


def _centred(image: Image.Image, side: int) -> Image.Image:
    """Return the centred square of this side, black where it reaches beyond the image."""
    left, top = (image.width - side) // 2, (image.height - side) // 2
    return image.crop((left, top, left + side, top + side))
