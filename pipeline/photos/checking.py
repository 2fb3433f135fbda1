"""What a dataset holds, in numbers: whether it can carry the analysis."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from atlas.grid import AXES
from pipeline.photos.dataset import Dataset, open_dataset
from pipeline.photos.region import average_ranks, per_decile

TOO_CORRELATED = 0.9
_CHUNK = 256


@dataclass(frozen=True)
class Facts:
    """A dataset in numbers.

    Attributes:
        photographs: how many.
        size: side of each in pixels.
        areas: how many areas they stand in.
        study_areas: how many areas the percentiles were taken among; None where the dataset does not say.
        blocks: how many spatial blocks (1 km cells) they stand in.
        per_decile: for each axis the number of photographs in each tenth of areas, the most deprived first.
        correlation: Spearman's over photographs, for each pair of axes such as "health-income"; None for an axis
            that is the same everywhere.
        counts: what became of the photographs that were listed, as the import recorded it.
        licence: of the photographs.
        attribution: who is to be named.
        warnings: why the data cannot carry the analysis, a sentence each.
    """

    photographs: int
    size: int
    areas: int
    study_areas: int | None
    blocks: int
    per_decile: dict[str, list[int]]
    correlation: dict[str, float | None]
    counts: Mapping[str, Any]
    licence: str
    attribution: str
    warnings: tuple[str, ...]


def check_dataset(path: Path) -> Facts:
    """Open a dataset, decode every photograph, and count.

    Raises:
        InputError: it is malformed anywhere, a damaged photograph included.
    """
    dataset = open_dataset(path)
    for start in range(0, len(dataset), _CHUNK):
        dataset.images(range(start, min(start + _CHUNK, len(dataset))))
    deciles = per_decile(_shares(dataset))
    correlation = correlations(_shares(dataset))
    study_areas = dataset.meta.get("areas")
    return Facts(
        photographs=len(dataset),
        size=dataset.size,
        areas=len({photo.area for photo in dataset.photos}),
        study_areas=study_areas if isinstance(study_areas, int) else None,
        blocks=len({photo.group for photo in dataset.photos}),
        per_decile=deciles,
        correlation=correlation,
        counts=dataset.meta.get("counts", {}),
        licence=str(dataset.meta.get("licence", "")),
        attribution=str(dataset.meta.get("attribution", "")),
        warnings=tuple(_warnings(deciles, correlation)),
    )


def _shares(dataset: Dataset) -> np.ndarray:
    return np.array([photo.percentiles for photo in dataset.photos])


def correlations(shares: np.ndarray) -> dict[str, float | None]:
    """Return Spearman's correlation of each pair of axes over ``shares`` [N, 3]."""
    found: dict[str, float | None] = {}
    ranks = [average_ranks(column) for column in shares.T]
    for i, j in combinations(range(len(AXES)), 2):
        same = np.ptp(shares[:, i]) == 0 or np.ptp(shares[:, j]) == 0
        value = None if same else round(float(np.corrcoef(ranks[i], ranks[j])[0, 1]), 4)
        found[f"{AXES[i]}-{AXES[j]}"] = value
    return found


def _warnings(deciles: Mapping[str, list[int]], correlation: Mapping[str, float | None]) -> list[str]:
    found = []
    for axis, counts in deciles.items():
        empty = [str(i) for i, count in enumerate(counts, start=1) if not count]
        if empty:
            found.append(f"no photograph is in decile {', '.join(empty)} of {axis}")
    for pair, value in correlation.items():
        if value is not None and value > TOO_CORRELATED:
            found.append(f"{pair.replace('-', ' and ')} are correlated at {value:.2f}: they can hardly be told apart")
    return found
