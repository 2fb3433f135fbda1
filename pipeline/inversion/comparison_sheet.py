"""The comparison sheet: a photograph, what each method makes of it, and what is lost. The paper's appendix has one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.inversion.finders import DISPLAY_NAMES
from pipeline.photos.sheet import contact_sheet

_CELL = 96  # pixels that a picture has at least, by whole factors: captions need room


@dataclass(frozen=True, eq=False)
class Picture:
    """A photograph, [size, size, 3] uint8, and each method's image of it."""

    photograph: np.ndarray
    rendered: Mapping[str, np.ndarray]


def comparison_sheet(pictures: Sequence[Picture]) -> bytes:
    """Lay out a row per photograph: "photograph · method · difference · method · difference …", as a PNG.

    Args:
        pictures: at least one; all with the same methods.
    """
    images, captions = [], []
    for picture in pictures:
        cells = [("photograph", picture.photograph)]
        for method, rendered in picture.rendered.items():
            cells.append((DISPLAY_NAMES.get(method, method), rendered))
            cells.append(("difference", difference(rendered, picture.photograph)))
        captions += [caption for caption, _ in cells]
        images += [_enlarged(image) for _, image in cells]
    columns = 1 + 2 * len(pictures[0].rendered)
    return contact_sheet(images, columns=columns, captions=captions, quality=None)


def difference(rendered: np.ndarray, photograph: np.ndarray) -> np.ndarray:
    """Return half of rendered − photograph around middle grey, uint8: grey where nothing is lost, light where the
    method made it lighter, dark where darker, each channel by itself.
    """
    half: np.ndarray = (rendered.astype(int) - photograph) // 2 + 128
    return half.astype(np.uint8)


def _enlarged(image: np.ndarray) -> np.ndarray:
    factor = -(-_CELL // image.shape[0])
    enlarged: np.ndarray = image.repeat(factor, 0).repeat(factor, 1)
    return enlarged
