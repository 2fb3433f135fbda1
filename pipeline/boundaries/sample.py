"""The photographs behind one axis's boundary: as many of the most as of the least deprived areas."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np

from atlas.errors import InputError
from atlas.grid import AXES
from pipeline.boundaries.blocks import area_blocks, metres
from pipeline.inversion.latents import Latents, dataset_fingerprint
from pipeline.inversion.selection import extremes
from pipeline.photos.dataset import Dataset

_ROWS = 1024


@dataclass(frozen=True, eq=False)
class Labelled:
    """Latent codes joined to what the dataset knows of their photographs.

    Attributes:
        codes: [N, D] float32, W or flattened W+.
        space: "w" or "w+".
        percentiles: [N, 3], 0 the most deprived … 1 the least.
        areas: [N] the area of each photograph, as numbers 0 … count − 1.
        blocks: [N] its block of 1 km, as numbers 0 … count − 1; an area is never split.
        places: [N, 2] where it stands, in metres.
        rows: [N] which row of the dataset it is, ascending.
    """

    codes: np.ndarray
    space: str
    percentiles: np.ndarray
    areas: np.ndarray
    blocks: np.ndarray
    places: np.ndarray
    rows: np.ndarray

    def __len__(self) -> int:
        return len(self.codes)

    def distances(self, normals: np.ndarray, intercepts: np.ndarray) -> np.ndarray:
        """Return the signed distances [N, K] of all codes to hyperplanes [K, D], in double precision.

        A part at a time: all codes of W+ in double precision would be a gigabyte.
        """
        parts = np.array_split(self.codes, max(1, len(self) // _ROWS))
        return np.concatenate([part.astype(np.float64) @ normals.T for part in parts]) + intercepts

    def subset(self, chosen: np.ndarray) -> Labelled:
        """Return the photographs ``chosen``, [N] bool, areas and blocks numbered anew."""
        _, areas = np.unique(self.areas[chosen], return_inverse=True)
        _, blocks = np.unique(self.blocks[chosen], return_inverse=True)
        return Labelled(
            self.codes[chosen],
            self.space,
            self.percentiles[chosen],
            areas,
            blocks,
            self.places[chosen],
            self.rows[chosen],
        )


@dataclass(frozen=True, eq=False)
class Sample:
    """A balanced sample of one axis's extremes.

    Attributes:
        rows: [n] which rows of `Labelled`, ascending.
        labels: [n] 0 the most deprived, 1 the least.
        found: how many photographs of the two classes there were before balancing, (most, least).
    """

    rows: np.ndarray
    labels: np.ndarray
    found: tuple[int, int]


def join(latents: Latents, dataset: Dataset) -> Labelled:
    """Find the labels and areas of photographs that were inverted.

    Raises:
        InputError: the latents are of another dataset, of photographs it does not have or in another order; a code is
            not finite or all are the same; a percentile is no number in 0 … 1.
    """
    codes = latents.w[:, 0] if latents.broadcast else latents.w.reshape(len(latents), -1)
    labelled = label(dataset, np.array(_dataset_rows(latents, dataset)), codes, latents.broadcast)
    files = [dataset.files[row] for row in labelled.rows]
    if not np.isfinite(labelled.codes).all():
        row = int(np.flatnonzero(~np.isfinite(labelled.codes).all(1))[0])
        raise InputError(f"the latent code of {files[row]} is not finite: invert the photographs again")
    if (labelled.codes == labelled.codes[0]).all():
        raise InputError(
            f"the latent codes of all {len(files)} photographs are the same: nothing can be told apart; "
            "invert them with more steps or train the generator further"
        )
    return labelled


def label(dataset: Dataset, rows: np.ndarray, codes: np.ndarray, broadcast: bool = True) -> Labelled:
    """Join codes, or any other description of photographs, to what the dataset knows of them.

    Args:
        dataset: percentiles, areas, places.
        rows: [N] which photographs, ascending.
        codes: [N, D] float.
        broadcast: whether the codes are W and not W+.

    Raises:
        InputError: a percentile is no number in 0 … 1, or two photographs of one area have different ones.
    """
    photos = [dataset.photos[row] for row in rows]
    percentiles = np.array([photo.percentiles for photo in photos], np.float64)
    bad = np.argwhere(~((percentiles >= 0) & (percentiles <= 1)))
    if len(bad):
        row, axis = bad[0]
        raise InputError(
            f"the {AXES[axis]} percentile of {photos[row].file} must be a number from 0 to 1, "
            f"got {percentiles[row, axis]}: make the dataset again"
        )
    _, first, areas = np.unique([photo.area for photo in photos], return_index=True, return_inverse=True)
    differing = np.flatnonzero((percentiles != percentiles[first[areas]]).any(1))
    if len(differing):
        photo = photos[differing[0]]
        raise InputError(
            f"{photo.file} has other percentiles than {photos[first[areas[differing[0]]]].file} of the same area "
            f"{photo.area}: make the dataset again"
        )
    blocks = area_blocks(areas, [photo.group for photo in photos])
    places = metres(np.array([photo.lat for photo in photos]), np.array([photo.lon for photo in photos]))
    return Labelled(codes, "w" if broadcast else "w+", percentiles, areas, blocks, places, np.asarray(rows))


def balanced_sample(labelled: Labelled, axis: int, fifth: float, folds: int, seed: int) -> Sample:
    """Take the extremes of an axis, and of the larger class as many as the smaller has, drawn by ``seed``.

    Raises:
        InputError: a class is empty, or there are too few areas to split by.
    """
    name = AXES[axis]
    classes = extremes(labelled.percentiles, fifth)[:, axis]
    most, least = np.flatnonzero(classes == -1), np.flatnonzero(classes == 1)
    if not len(most) or not len(least):
        empty = "most" if not len(most) else "least"
        raise InputError(
            f"axis {name} has no photograph in its {empty} deprived fifth (share {fifth}): {len(most)} in the most "
            f"deprived, {len(least)} in the least; add photographs of such areas or raise the share with --fifth"
        )
    rng = np.random.default_rng([seed, axis, 0])
    n = min(len(most), len(least))
    kept = [rng.choice(rows, n, replace=False) if len(rows) > n else rows for rows in (most, least)]
    rows = np.sort(np.concatenate(kept))
    sample = Sample(rows, (classes[rows] == 1).astype(int), (len(most), len(least)))
    _require_areas(labelled.areas[rows], sample.labels, name, folds)
    return sample


def _dataset_rows(latents: Latents, dataset: Dataset) -> list[int]:
    """Return where each latent code's photograph stands in the dataset."""
    place = {file: row for row, file in enumerate(dataset.files)}
    if len(latents) > len(dataset.files):
        raise InputError(
            f"there are {len(latents)} latent codes and {len(dataset.files)} photographs in {dataset.path}: "
            "invert the photographs of this dataset"
        )
    unknown = [file for file in latents.files if file not in place]
    if unknown:
        raise InputError(
            f"the latents name {unknown[0]}, which {dataset.path} does not have: invert the photographs of this dataset"
        )
    made_from = latents.metadata.get("photographs_sha256")
    if made_from is not None and made_from != dataset_fingerprint(dataset.photos):
        raise InputError(f"the latents were made from other photographs than those of {dataset.path}: invert these")
    rows = [place[file] for file in latents.files]
    for before, after in itertools.pairwise(rows):
        if before >= after:
            raise InputError(
                f"the latents must be in the order of {dataset.path}, got {dataset.files[after]} after "
                f"{dataset.files[before]}: invert the photographs again"
            )
    return rows


def _require_areas(areas: np.ndarray, labels: np.ndarray, name: str, folds: int) -> None:
    total = len(np.unique(areas))
    if total < folds:
        raise InputError(
            f"axis {name} has photographs of {total} areas in its extremes and {folds} folds need as many: "
            "lower --folds or add photographs of further areas"
        )
    for label, word in enumerate(("most", "least")):
        if len(np.unique(areas[labels == label])) < 2:
            raise InputError(
                f"axis {name} has photographs of 1 area in its {word} deprived fifth, at least 2 are needed to test on "
                "one and learn from another: add photographs of further areas"
            )
