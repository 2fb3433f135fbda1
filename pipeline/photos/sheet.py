"""Many small pictures on one."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from atlas.files import write_bytes
from pipeline.photos.dataset import open_dataset

_GAP, _CAPTION = 4, 12
_SHOWN, _COLUMNS, _QUALITY = 32, 8, 72


def contact_sheet(
    images: Sequence[np.ndarray], *, columns: int, captions: Sequence[str] = (), quality: int | None = 85
) -> bytes:
    """Lay out images, [size, size, 3] uint8 and all of one size, row by row.

    Args:
        images: at least one.
        columns: how many in a row.
        captions: a short text under each, or none.
        quality: of the JPEG; None for a PNG, every pixel as it is.

    Returns:
        A JPEG or a PNG.
    """
    size = images[0].shape[0]
    across, down = min(columns, len(images)), -(-len(images) // columns)
    step_y = size + _GAP + (_CAPTION if captions else 0)
    sheet = Image.new("RGB", (across * (size + _GAP) + _GAP, down * step_y + _GAP), "white")
    pen = ImageDraw.Draw(sheet)
    for index, image in enumerate(images):
        x, y = _GAP + index % columns * (size + _GAP), _GAP + index // columns * step_y
        sheet.paste(Image.fromarray(image), (x, y))
        if captions:
            pen.text((x, y + size), captions[index], fill="black")
    stream = io.BytesIO()
    if quality is None:
        sheet.save(stream, "PNG")
    else:
        sheet.save(stream, "JPEG", quality=quality)
    return stream.getvalue()


def write_sheet(dataset: Path, out: Path) -> None:
    """Write a contact sheet of the first 32 photographs of a dataset.

    Raises:
        InputError: the dataset is malformed.
    """
    opened = open_dataset(dataset)
    images = opened.images(range(min(_SHOWN, len(opened))))
    write_bytes(out, contact_sheet(list(images), columns=_COLUMNS, quality=_QUALITY))
