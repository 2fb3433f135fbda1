"""What a dataset holds, in numbers: whether it can carry the analysis."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from atlas.grid import AXES
from pipeline.photos.apart import split_distances
from pipeline.photos.dataset import Dataset, open_dataset
from pipeline.photos.filter.quality import difference_hash, near_duplicates
from pipeline.photos.region import average_ranks, per_decile

TOO_CORRELATED = 0.9
_CHUNK = 256
_ALIKE_BITS, _NEAR_METRES = 6, 25.0
_MANY_DUPLICATES, _LEAKING = 0.02, 0.1


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
        per_area: the smallest, median and largest number of photographs in an area that has any.
        duplicates: photographs that have the same perceptual hash as another ("anywhere"), and those with a like one
            whose camera stands within 25 m ("near by").
        splits: for each way of splitting photographs how far those held out are from the others
            (`pipeline.photos.apart.split_distances`).
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
    per_area: tuple[int, float, int]
    duplicates: dict[str, int]
    splits: dict[str, dict[str, float | int]]
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
    hashes = _hashes(dataset)
    lat, lon = np.array([p.lat for p in dataset.photos]), np.array([p.lon for p in dataset.photos])
    duplicates = _duplicates(hashes, lat, lon)
    photos = dataset.photos
    splits = split_distances(
        lat,
        lon,
        {"photograph": dataset.files, "area": [p.area for p in photos], "1 km block": [p.group for p in photos]},
    )
    in_area = sorted(Counter(photo.area for photo in photos).values())
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
        per_area=(in_area[0], float(np.median(in_area)), in_area[-1]),
        duplicates=duplicates,
        splits=splits,
        counts=dataset.meta.get("counts", {}),
        licence=str(dataset.meta.get("licence", "")),
        attribution=str(dataset.meta.get("attribution", "")),
        warnings=(*_warnings(deciles, correlation), *_doubts(len(dataset), duplicates, splits)),
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


def _hashes(dataset: Dataset) -> list[int]:
    """Decode every photograph, in chunks, and hash it."""
    hashes: list[int] = []
    for start in range(0, len(dataset), _CHUNK):
        chunk = dataset.images(range(start, min(start + _CHUNK, len(dataset))))
        hashes.extend(difference_hash(image) for image in chunk)
    return hashes


def _duplicates(hashes: list[int], lat: np.ndarray, lon: np.ndarray) -> dict[str, int]:
    near = near_duplicates(hashes, lat, lon, range(len(hashes)), bits=_ALIKE_BITS, metres=_NEAR_METRES)
    return {"anywhere": len(hashes) - len(set(hashes)), "near by": len(near)}


def _doubts(
    photographs: int, duplicates: Mapping[str, int], splits: Mapping[str, Mapping[str, float | int]]
) -> Iterator[str]:
    """Yield what a result on this dataset would have to answer for."""
    if duplicates["near by"] > _MANY_DUPLICATES * photographs:
        yield f"{duplicates['near by']} photographs look like another one near by: filter them out"
    for name in ("area", "1 km block"):
        if name in splits and splits[name]["within_25_m"] > _LEAKING:
            share = splits[name]["within_25_m"]
            yield f"split by {name}, {share:.0%} of the held-out photographs have another within 25 m: results leak"
    if "1 km block" not in splits:
        yield "all photographs stand in one block of 1 km: nothing can be held out by place"


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
