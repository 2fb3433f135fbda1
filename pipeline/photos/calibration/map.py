"""The invented map: areas as cells of a bent lattice, and three ranks that are correlated as London's are."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import shapely
from scipy.ndimage import gaussian_filter
from scipy.special import ndtri

from atlas.grid import AXES
from pipeline.photos.areas import Areas
from pipeline.photos.region import average_ranks

COLUMNS, ROWS = 24, 20
CELL_DEGREES = 0.006
"""Side of a cell, about two thirds of a kilometre; the map lies around latitude 0, longitude 0, in the sea."""

SPEARMAN = {("health", "income"): 0.82, ("income", "education"): 0.77, ("health", "education"): 0.65}
"""Correlation of the ranks, as measured over photographs of London."""

_BEND, _SMOOTH, _LOCAL = 0.22, 1.6, 0.6
_MAP, _PLACES = 2, 3


@dataclass(frozen=True, eq=False)
class StreetMap:
    """The areas of a calibration street.

    Attributes:
        areas: boundaries and codes, [M], sorted by code.
        ranks: [M, 3] int64, (health, income, education), 1 the most deprived, M the least.
    """

    areas: Areas
    ranks: np.ndarray

    @property
    def scores(self) -> np.ndarray:
        """Return [M, 3]: each area's place in (0, 1) on each axis, 1 the least deprived."""
        scores: np.ndarray = (self.ranks - 0.5) / len(self.ranks)
        return scores


def make_map(seed: int) -> StreetMap:
    """Invent the areas of the street with this seed."""
    rng = np.random.default_rng((seed, _MAP))
    return StreetMap(_cells(rng), _ranks(rng))


def choose_place(street_map: StreetMap, seed: int, index: int) -> tuple[int, float, float]:
    """Choose where photograph ``index`` was taken: (area, longitude, latitude), in an area chosen evenly."""
    rng = np.random.default_rng((seed, index, _PLACES))
    area = int(rng.integers(len(street_map.areas.codes)))
    polygon = street_map.areas.shapes[area]
    west, south, east, north = polygon.bounds
    while True:
        lon = round(float(rng.uniform(west, east)), 6)
        lat = round(float(rng.uniform(south, north)), 6)
        if shapely.contains_xy(polygon, lon, lat):
            return area, lon, lat


def _cells(rng: np.random.Generator) -> Areas:
    """Make the areas from a lattice whose inner points were pushed about: neighbours share their corners."""
    y, x = np.mgrid[0 : ROWS + 1, 0 : COLUMNS + 1].astype(float)
    push = rng.uniform(-_BEND, _BEND, (2, ROWS + 1, COLUMNS + 1))
    lon = np.round((x + push[0] - COLUMNS / 2) * CELL_DEGREES, 6)
    lat = np.round((y + push[1] - ROWS / 2) * CELL_DEGREES, 6)
    corners = np.stack([lon, lat], -1)
    rings = np.stack([corners[:-1, :-1], corners[:-1, 1:], corners[1:, 1:], corners[1:, :-1], corners[:-1, :-1]], -2)
    codes = tuple(f"C{i:06d}" for i in range(1, ROWS * COLUMNS + 1))
    return Areas("calibration map", codes, shapely.polygons(rings.reshape(-1, 5, 2)))


def _ranks(rng: np.random.Generator) -> np.ndarray:
    """Rank three fields that are smooth over the map, with a local part, and correlated as `SPEARMAN` says."""
    fields = np.stack([_normal_scores(_field(rng)) for _ in AXES], -1)
    white = fields @ np.linalg.inv(np.linalg.cholesky(np.cov(fields.T))).T
    mixed = white @ np.linalg.cholesky(_correlation()).T
    return mixed.argsort(axis=0).argsort(axis=0) + 1


def _field(rng: np.random.Generator) -> np.ndarray:
    smooth = gaussian_filter(rng.standard_normal((ROWS, COLUMNS)), _SMOOTH, mode="nearest")
    values = smooth / smooth.std() + _LOCAL * rng.standard_normal((ROWS, COLUMNS))
    return values.ravel()


def _normal_scores(values: np.ndarray) -> np.ndarray:
    scores: np.ndarray = ndtri((average_ranks(values) - 0.5) / len(values))
    return scores


def _correlation() -> np.ndarray:
    """Return the correlation of normals whose ranks have the correlation `SPEARMAN`."""
    matrix = np.eye(len(AXES))
    for (a, b), r in SPEARMAN.items():
        i, j = AXES.index(a), AXES.index(b)
        matrix[i, j] = matrix[j, i] = 2 * math.sin(math.pi * r / 6)
    return matrix
