"""Splitting photographs so that those who judge are far from those who teach: blocks of whole areas, and a margin."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.spatial import cKDTree

from pipeline.photos.plane import Plane

MARGIN = 100.0
"""Metres: training photographs so near to a test photograph are left out."""


def area_blocks(areas: np.ndarray, cells: Sequence[str]) -> np.ndarray:
    """Return the spatial block of each photograph: the 1 km cell that has most photographs of its area.

    A cell's border cuts through areas; so that no area is split, all of it goes where most of it lies (of equals, to
    the first by name).

    Args:
        areas: [N] area of each photograph, 0 … count − 1.
        cells: [N] names of the photographs' cells.

    Returns:
        [N] int, 0 … blocks − 1.
    """
    names, cell = np.unique(np.asarray(cells), return_inverse=True)
    counts = np.zeros((int(areas.max()) + 1, len(names)), int)
    np.add.at(counts, (areas, cell), 1)
    _, blocks = np.unique(counts.argmax(1)[areas], return_inverse=True)
    return blocks


def metres(lat: np.ndarray, lon: np.ndarray) -> np.ndarray:
    """Return the places [N, 2] of photographs on a flat map, in metres."""
    return np.stack(Plane(float(np.mean(lat))).to_metres(lat, lon), 1)


def random_folds(labels: np.ndarray, folds: int, seed: int) -> np.ndarray:
    """Deal photographs into folds at random, each class evenly: as the paper split them, photograph by photograph.

    Returns:
        [n] 0 … folds − 1.
    """
    rng = np.random.default_rng(seed)
    fold_of = np.empty(len(labels), int)
    for label in (0, 1):
        members = rng.permutation(np.flatnonzero(labels == label))
        fold_of[members] = np.arange(len(members)) % folds
    return fold_of


def group_folds(groups: np.ndarray, labels: np.ndarray, folds: int, seed: int) -> np.ndarray:
    """Deal whole groups (blocks, areas) into folds so that each fold has about its share of both classes.

    Groups are dealt from the largest to the smallest, equals in an order drawn by ``seed``, each to the fold where the
    classes then lie most even.

    Args:
        groups: [n] group of each photograph.
        labels: [n] 0 or 1.
        folds: at most the number of groups.
        seed: of the order.

    Returns:
        [n] the fold of each photograph, 0 … folds − 1; every fold has at least one group.
    """
    _, index = np.unique(groups, return_inverse=True)
    counts = np.zeros((index.max() + 1, 2))
    np.add.at(counts, (index, labels), 1)
    shares = counts / np.maximum(counts.sum(0), 1)
    drawn = np.random.default_rng(seed).permutation(len(counts))
    order = drawn[np.argsort(-counts[drawn].sum(1), kind="stable")]
    filled = np.zeros((folds, 2))
    fold_of = np.empty(len(counts), int)
    for place, group in enumerate(order):
        # A fold costs as much as it already has of these classes; empty ones come first when few groups are left.
        cost = (filled * shares[group]).sum(1)
        empty = ~filled.any(1)
        if empty.any() and len(order) - place <= empty.sum():
            cost[~empty] = np.inf
        fold_of[group] = int(np.argmin(cost))
        filled[fold_of[group]] += shares[group]
    return fold_of[index]


def near(places: np.ndarray, test: np.ndarray, margin: float = MARGIN) -> np.ndarray:
    """Say which photographs are not in ``test`` and yet within ``margin`` metres of one that is.

    Args:
        places: [n, 2] metres.
        test: [n] bool.
        margin: metres.

    Returns:
        [n] bool.
    """
    found = np.zeros(len(places), bool)
    if test.any() and not test.all():
        distance, _ = cKDTree(places[test]).query(places[~test], distance_upper_bound=np.nextafter(margin, np.inf))
        found[~test] = np.isfinite(distance)
    return found
