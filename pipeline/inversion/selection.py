"""Which photographs are inverted, and which class of an axis each belongs to."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from pipeline.photos.dataset import Photo

FIFTH = 0.2
HELD_OUT = 0.1
_ROUNDING = 1e-6  # percentiles come from text and float32 tables; 0.2 must stay in the lowest fifth


def extremes(percentiles: np.ndarray, fifth: float = FIFTH) -> np.ndarray:
    """Return the class of each photograph on each axis.

    Args:
        percentiles: [N, 3], 0 the most deprived … 1 the least.
        fifth: the share of areas in each class.

    Returns:
        [N, 3] int8: −1 among the most deprived ``fifth``, +1 among the least, 0 between. Where the two classes touch
        (a ``fifth`` of 0.5), the most deprived one has the middle.
    """
    most = percentiles <= fifth + _ROUNDING
    least = (percentiles >= 1 - fifth - _ROUNDING) & ~most
    return least.astype(np.int8) - most.astype(np.int8)


def choose_photographs(percentiles: np.ndarray, photographs: str, limit: int, seed: int) -> np.ndarray:
    """Choose the photographs to invert.

    Args:
        percentiles: [N, 3], 0 … 1.
        photographs: "all", or "extremes": those in the most or least deprived fifth of any axis.
        limit: at most so many, 0 for no limit. They are drawn one by one, each from the class (axis × most or least
            deprived) that has fewest so far, so that the classes stay as even as the photographs allow.
        seed: of the draw.

    Returns:
        Indices in ascending order.
    """
    classes = extremes(percentiles)
    candidates = np.flatnonzero((classes != 0).any(1)) if photographs == "extremes" else np.arange(len(classes))
    if not limit or len(candidates) <= limit:
        return candidates
    members = np.concatenate([classes == -1, classes == 1], 1)  # [N, 6]
    order = np.random.default_rng(seed).permutation(candidates)
    queues = [iter(order[members[order, k]]) for k in range(members.shape[1])]
    chosen = np.zeros(len(classes), bool)
    counts = np.zeros(len(queues), int)
    open_queues = set(range(len(queues)))
    while open_queues and chosen.sum() < limit:
        k = min(open_queues, key=lambda i: (counts[i], i))
        pick = next((i for i in queues[k] if not chosen[i]), None)
        if pick is None:
            open_queues.remove(k)
            continue
        chosen[pick] = True
        counts += members[pick]
    rest = order[~chosen[order]][: limit - int(chosen.sum())]
    chosen[rest] = True
    return np.flatnonzero(chosen)


def held_out(photos: Sequence[Photo], share: float = HELD_OUT) -> np.ndarray:
    """Say which photographs an encoder must not be trained on, so that inversions can be compared on them.

    Whole blocks are held out, never a part of one: neighbouring photographs show the same houses. A block's fate hangs
    on its name alone, so that it stays when photographs are added or removed.

    Args:
        photos: the dataset's rows.
        share: of blocks, 0 … 1.

    Returns:
        [N] bool.
    """
    digests = [hashlib.sha256(photo.group.encode()).digest()[:8] for photo in photos]
    return np.array([int.from_bytes(digest, "big") < share * 2**64 for digest in digests], bool)


def choose_compared(photos: Sequence[Photo], limit: int, seed: int, among: np.ndarray | None = None) -> np.ndarray:
    """Choose the photographs on which methods of inversion are compared: some that no encoder is trained on.

    Args:
        photos: the dataset's rows.
        limit: at most so many. A photograph's chance hangs on the seed and its source's name for it alone, so that the
            same ones are chosen from all held-out photographs and from any part of them that has these.
        seed: of the choice.
        among: [N] bool, the photographs that may be chosen; None for all.

    Returns:
        Indices in ascending order; none where no block is held out.
    """
    may = held_out(photos) if among is None else held_out(photos) & among
    candidates = np.flatnonzero(may)
    order = [hashlib.sha256(f"{seed} {photos[int(i)].source_id}".encode()).digest() for i in candidates]
    ranked = sorted(range(len(candidates)), key=order.__getitem__)
    return np.sort(candidates[ranked[:limit]])
