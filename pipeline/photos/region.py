"""The study region: its areas with ranks, their percentiles among each other, and which one a photograph is in."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from atlas.errors import InputError
from atlas.grid import AXES
from pipeline.photos.areas import Areas
from pipeline.photos.imd import RankTable

OUTSIDE, ON_A_BOUNDARY, NO_RANKS = "outside every area", "on a boundary of areas", "area without ranks"
_KM_PER_DEGREE = 6371.0088 * math.pi / 180


@dataclass(frozen=True, eq=False)
class Region:
    """Every area that has both a boundary and ranks, sorted by code.

    Attributes:
        codes: [M].
        ranks: [M, 3] int64 as published, (health, income, education), 1 the most deprived.
        percentiles: [M, 3] float64, the area's place among these M: 0 the most deprived, 1 the least.
        overall: [M] int64, rank of the whole index; None where it is not known.
        rows: [A] int64, for each of the boundaries its row here, −1 where it has no ranks.
    """

    codes: tuple[str, ...]
    ranks: np.ndarray
    percentiles: np.ndarray
    overall: np.ndarray | None
    rows: np.ndarray


def make_region(areas: Areas, table: RankTable) -> Region:
    """Join boundaries and ranks.

    Raises:
        InputError: fewer than two areas have both, so that there is no order among them.
    """
    position = {code: i for i, code in enumerate(table.codes)}
    codes = tuple(code for code in areas.codes if code in position)
    if len(codes) < 2:
        raise InputError(f"{areas.name} and {table.name} must share at least 2 areas, they share {len(codes)}")
    chosen = np.array([position[code] for code in codes])
    row = {code: i for i, code in enumerate(codes)}
    ranks = table.ranks[chosen]
    return Region(
        codes=codes,
        ranks=ranks,
        percentiles=percentiles(ranks),
        overall=None if table.overall is None else table.overall[chosen],
        rows=np.array([row.get(code, -1) for code in areas.codes], np.int64),
    )


def percentiles(ranks: np.ndarray) -> np.ndarray:
    """Return (average rank − 1) / (M − 1) down each column of ``ranks`` [M, k]: 0 the lowest, 1 the highest.

    Equal ranks share the average of their places.
    """
    places = np.stack([average_ranks(column) for column in np.asarray(ranks).T], -1)
    return (places - 1) / (len(ranks) - 1)


def average_ranks(values: np.ndarray) -> np.ndarray:
    """Return the place of each of ``values`` [N] in their order, from 1; equal values share the average of theirs."""
    _, which, counts = np.unique(values, return_inverse=True, return_counts=True)
    places: np.ndarray = (np.cumsum(counts) - (counts - 1) / 2)[which]
    return places


@dataclass(frozen=True, eq=False)
class Places:
    """Where photographs are.

    Attributes:
        rows: [N] int64, the row of the region for each photograph, −1 for one that is dropped.
        dropped: how many are dropped, by reason.
    """

    rows: np.ndarray
    dropped: dict[str, int]


def place(areas: Areas, region: Region, lon: np.ndarray, lat: np.ndarray) -> Places:
    """Find the area of each of N points, given by longitude and latitude in degrees."""
    found, ambiguous = areas.locate(lon, lat)
    rows = np.where(found < 0, -1, region.rows[found])
    dropped = {
        OUTSIDE: int(np.sum((found < 0) & ~ambiguous)),
        ON_A_BOUNDARY: int(np.sum(ambiguous)),
        NO_RANKS: int(np.sum((found >= 0) & (rows < 0))),
    }
    return Places(rows, dropped)


def per_decile(percentiles: np.ndarray) -> dict[str, list[int]]:
    """Return how many of ``percentiles`` [N, 3] are in each tenth of each axis, the most deprived tenth first."""
    tenths = np.minimum((np.asarray(percentiles) * 10).astype(int), 9)
    return {axis: np.bincount(tenths[:, i], minlength=10).tolist() for i, axis in enumerate(AXES)}


def cell(lat: float, lon: float) -> str:
    """Return the 1 km cell of a point, such as "W00008N05721", the block that splits keep together.

    Equirectangular, with the width of a degree taken at the middle of the cell's own row: rows are 1 km high and
    cells 1 km wide anywhere, and a cell does not depend on what else is in the dataset.
    """
    row = math.floor(lat * _KM_PER_DEGREE)
    column = math.floor(lon * _KM_PER_DEGREE * math.cos(math.radians((row + 0.5) / _KM_PER_DEGREE)))
    return f"{_signed(column, 'E', 'W')}{_signed(row, 'N', 'S')}"


def _signed(number: int, positive: str, negative: str) -> str:
    return f"{positive}{number:05d}" if number >= 0 else f"{negative}{-number:05d}"
