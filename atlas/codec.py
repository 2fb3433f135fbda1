"""JPEG in and out, and small pictures of pictures. The only file of this package that knows Pillow."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image, UnidentifiedImageError, features

from atlas.errors import InputError

MAX_PIXELS = 8192 * 8192
"""No file of an atlas decodes to more than this; a header that promises more is refused before it is decoded."""


def encode_jpeg(image: np.ndarray, quality: int) -> bytes:
    """Encode an image as a progressive JPEG, 4:2:0, with optimised Huffman tables and no metadata.

    Args:
        image: [y, x, rgb] uint8.
        quality: 1 … 100, libjpeg's scale.
    """
    stream = io.BytesIO()
    Image.fromarray(image, "RGB").save(
        stream, "JPEG", quality=quality, subsampling="4:2:0", progressive=True, optimize=True
    )
    return stream.getvalue()


def decode_jpeg(data: bytes, what: str) -> np.ndarray:
    """Decode a JPEG to [y, x, rgb] uint8; ``what`` names the file in errors.

    Raises:
        InputError: the bytes are no JPEG, are cut short, or promise an absurd size.
    """
    try:
        with Image.open(io.BytesIO(data), formats=["JPEG"]) as image:
            if image.width * image.height > MAX_PIXELS:
                raise InputError(f"{what} must be at most {MAX_PIXELS} pixels, got {image.width} × {image.height}")
            return np.asarray(image.convert("RGB"))
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError, SyntaxError) as error:
        raise InputError(f"{what} is not a whole JPEG: {error}") from error


def sheet(cells: np.ndarray, columns: int, pitch: int, inset: int) -> np.ndarray:
    """Lay cells out row by row on one picture.

    A cell stands ``inset`` pixels from the left and top of its square of ``pitch`` pixels; the rest of the square
    repeats the cell's outermost pixels, so that nothing of a neighbour comes near.

    Args:
        cells: [cell, y, x, rgb] uint8, square.
        columns: cells in a row.
        pitch: side of a square, at least inset + the cell's size.
        inset: pixels.

    Returns:
        [rows × pitch, columns × pitch, rgb] uint8; squares without a cell are black.
    """
    count, size = cells.shape[:2]
    after = pitch - inset - size
    padded = np.pad(cells, ((0, 0), (inset, after), (inset, after), (0, 0)), mode="edge")
    rows = -(-count // columns)
    squares = np.zeros((rows * columns, pitch, pitch, 3), dtype=np.uint8)
    squares[:count] = padded
    grid = squares.reshape(rows, columns, pitch, pitch, 3).transpose(0, 2, 1, 3, 4)
    return np.ascontiguousarray(grid.reshape(rows * pitch, columns * pitch, 3))


def shrink(images: np.ndarray, size: int) -> np.ndarray:
    """Return [image, y, x, rgb] uint8 images scaled to ``size`` × ``size`` pixels (Lanczos)."""
    if images.shape[1] == size:
        return images
    small = [Image.fromarray(image, "RGB").resize((size, size), Image.Resampling.LANCZOS) for image in images]
    return np.stack([np.asarray(image) for image in small])


def codecs() -> dict[str, str]:
    """Return the version of each image codec that this installation has; "" for one that it lacks."""
    return {
        "jpeg": _version("jpg", "libjpeg_turbo"),
        "avif": _version("avif", "avif"),
        "webp": _version("webp", "webp"),
    }


def _version(codec: str, named: str) -> str:
    if not features.check(codec):
        return ""
    return str(features.version(named) or features.version(codec) or "present")
