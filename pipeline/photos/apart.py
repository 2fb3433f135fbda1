"""How far apart the photographs that judge are from those that teach, for each way of splitting them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.spatial import cKDTree

from pipeline.photos.plane import Plane

NEAR = 25.0  # metres: two photographs of one front garden
_TEST_SHARE, _SEED = 0.2, 1


def split_distances(
    lat: np.ndarray, lon: np.ndarray, units: dict[str, Sequence[str]]
) -> dict[str, dict[str, float | int]]:
    """Hold out a fifth of the photographs, drawn unit by unit, and measure how far each is from the rest.

    Args:
        lat: [N] degrees.
        lon: [N] degrees.
        units: for each way of splitting, such as "area", what of each photograph stays on one side, [N].

    Returns:
        For each way: ``test`` and ``train``, how many photographs; ``median_metres`` and ``nearest_metres`` from a
        held-out one to the nearest of the others; ``within_25_m``, the share that has another so near. A way with
        fewer than two units is left out.
    """
    x, y = Plane(float(np.mean(lat))).to_metres(lat, lon)
    places = np.stack([x, y], 1)
    found = {}
    for name, unit in units.items():
        _, which = np.unique(np.asarray(unit), return_inverse=True)
        sizes = np.bincount(which)
        if len(sizes) < 2:
            continue
        order = np.random.default_rng(_SEED).permutation(len(sizes))
        # Units are taken until a fifth is held out; at least one stays on either side.
        taken = int(np.searchsorted(np.cumsum(sizes[order]), _TEST_SHARE * len(which))) + 1
        test = np.isin(which, order[: min(taken, len(sizes) - 1)])
        distance, _ = cKDTree(places[~test]).query(places[test])
        found[name] = {
            "test": int(test.sum()),
            "train": int((~test).sum()),
            "median_metres": round(float(np.median(distance)), 1),
            "nearest_metres": round(float(distance.min()), 1),
            "within_25_m": round(float(np.mean(distance <= NEAR)), 4),
        }
    return found
