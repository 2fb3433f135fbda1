"""The photographs of an evaluation: those a generator may have learnt from, and those it is held against."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from atlas.errors import InputError
from atlas.files import sha256_path
from pipeline.photos.dataset import Dataset, open_dataset

LEAST = 20  # photographs that a number can be made from
BATCH = 256


@dataclass(frozen=True)
class Photographs:
    """Some photographs of a dataset, numbered from 0.

    Attributes:
        dataset: where they are.
        chosen: [N] int64, which ones, ascending.
    """

    dataset: Dataset
    chosen: np.ndarray

    @classmethod
    def open(cls, path: Path, limit: int, seed: int) -> Photographs:
        """Open a ``dataset.zip``: all of its photographs, or ``limit`` drawn ones.

        Raises:
            InputError: not a dataset, or there are too few photographs.
        """
        dataset = open_dataset(path)
        count = len(dataset)
        if count < LEAST:
            raise InputError(f"{path} must hold {LEAST} photographs or more to be compared with, got {count}")
        if limit and limit < LEAST:
            raise InputError(f"photographs must be 0 (all) or {LEAST} and more, got {limit}")
        if not limit or limit >= count:
            return cls(dataset, np.arange(count))
        return cls(dataset, np.sort(np.random.default_rng(seed).choice(count, limit, replace=False)))

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self.chosen)

    def __call__(self, start: int, stop: int) -> np.ndarray:
        """Return photographs ``start`` … ``stop − 1``, [n, H, W, 3] uint8."""
        return self.dataset.images(self.chosen[start:stop])

    def file(self, number: int) -> str:
        """Return the name of a photograph's file in the dataset."""
        return self.dataset.files[int(self.chosen[number])]

    def facts(self) -> dict[str, Any]:
        """Return what a number made with them must say."""
        return {
            "file": self.dataset.path.name,
            "sha256": sha256_path(self.dataset.path),
            "photographs": len(self),
            "of": len(self.dataset),
            "size": self.dataset.size,
            "resize_filter": str(self.dataset.meta.get("resize_filter", "not recorded")),
        }


def open_held_out(path: Path, data: Dataset, limit: int, seed: int) -> Photographs:
    """Open photographs that a generator trained on ``data`` has not seen.

    Raises:
        InputError: see `Photographs.open`; they are of another size, or some are photographs of ``data``.
    """
    held_out = Photographs.open(path, limit, seed)
    if held_out.dataset.size != data.size:
        raise InputError(
            f"{path} must hold photographs of {data.size} px, as {data.path} does, got {held_out.dataset.size} px"
        )
    seen = set(_digests(Photographs(data, np.arange(len(data)))))
    common = sum(digest in seen for digest in _digests(held_out))
    if common:
        raise InputError(
            f"{path} must hold photographs that the generator never saw, but {common} of its {len(held_out)} are in "
            f"{data.path} too"
        )
    return held_out


def _digests(photographs: Photographs) -> Iterator[bytes]:
    for start in range(0, len(photographs), BATCH):
        for image in photographs(start, start + BATCH):
            yield hashlib.sha256(image.tobytes()).digest()
