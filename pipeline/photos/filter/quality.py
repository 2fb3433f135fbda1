"""What can be told of a photograph without a classifier: is it sharp, is it light, has it been seen before."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image
from scipy.spatial import cKDTree

from pipeline.photos.plane import Plane

_SHARPNESS_SIDE = 128
_LUMA = np.array([0.299, 0.587, 0.114])


def sharpness(image: np.ndarray) -> float:
    """Return the variance of the Laplacian of a photograph's luma, [H, W, 3] uint8, at 128 px, luma being 0 … 1.

    Near 0.017 for an ordinary street scene, below 0.004 for one that is out of focus or shaken.
    """
    small = Image.fromarray(image).resize((_SHARPNESS_SIDE, _SHARPNESS_SIDE), Image.Resampling.BOX)
    luma = np.asarray(small) @ _LUMA / 255
    edges = luma[:-2, 1:-1] + luma[2:, 1:-1] + luma[1:-1, :-2] + luma[1:-1, 2:] - 4 * luma[1:-1, 1:-1]
    return float(edges.var())


def brightness(image: np.ndarray) -> float:
    """Return the mean luma of a photograph, [H, W, 3] uint8: 0 black … 1 white."""
    return float((image.reshape(-1, 3).mean(0) @ _LUMA) / 255)


def difference_hash(image: np.ndarray) -> int:
    """Return a 64-bit perceptual hash of a photograph, [H, W, 3] uint8: whether each of 8 × 8 places is lighter than
    the next to its right. Survives resizing, compression and a change of light.
    """
    small = np.asarray(Image.fromarray(image).convert("L").resize((9, 8), Image.Resampling.BOX)).astype(int)
    bits = np.packbits((small[:, :-1] > small[:, 1:]).ravel())
    return int.from_bytes(bits.tobytes(), "big")


def hamming(a: int, b: int) -> int:
    """Return in how many bits two hashes differ."""
    return (a ^ b).bit_count()


def near_duplicates(
    hashes: Sequence[int], lat: np.ndarray, lon: np.ndarray, order: Sequence[int], *, bits: int, metres: float
) -> dict[int, int]:
    """Find photographs that show what another one shows: a like hash, and a camera near by.

    Args:
        hashes: [N] of `difference_hash`.
        lat: [N] degrees.
        lon: [N] degrees.
        order: indices to look at, the best first: a photograph is never the duplicate of a worse one.
        bits: hashes that differ in at most so many are alike.
        metres: cameras at most so far apart are near.

    Returns:
        For each duplicate the photograph, itself no duplicate, that stands for it.
    """
    if not len(order):
        return {}
    x, y = Plane(float(np.mean(lat))).to_metres(np.asarray(lat), np.asarray(lon))
    places = np.stack([x, y], 1)
    tree = cKDTree(places)
    standing: set[int] = set()
    found: dict[int, int] = {}
    for index in order:
        near = [j for j in tree.query_ball_point(places[index], metres) if j in standing]
        alike = [j for j in near if hamming(hashes[index], hashes[j]) <= bits]
        if alike:
            found[index] = min(alike, key=lambda j: (hamming(hashes[index], hashes[j]), j))
        else:
            standing.add(index)
    return found
