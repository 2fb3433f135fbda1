"""The order in which photographs are seen: endless, seeded, and a pure function of the position."""

from __future__ import annotations

import os

import numpy as np
import torch
from torch import Tensor

from pipeline.photos.dataset import Dataset
from pipeline.processes import Share

MEMORY_SHARE = 0.5  # photographs are held in memory if they take no more than this share of what is free


class PhotographStream:
    """Photographs as batches. Every epoch goes through all of them once, in an order of its own.

    Attributes:
        dataset: where they come from.
        seed: of the order.
        mirror: whether mirrored photographs count as further ones.
    """

    def __init__(self, dataset: Dataset, seed: int, mirror: bool) -> None:
        self.dataset, self.seed, self.mirror = dataset, seed, mirror
        self._epoch = -1
        self._order = np.empty(0, np.int64)
        self._pixels = dataset.images() if _fits(dataset) else None

    def indices(self, position: int, count: int) -> np.ndarray:
        """Return which photographs stand at ``position`` … ``position + count`` of the endless sequence, [count] int64.

        With ``mirror`` an index from N on means the mirrored photograph ``index − N``.
        """
        size = len(self.dataset.files) * (2 if self.mirror else 1)
        chosen = np.empty(count, np.int64)
        for i in range(count):
            epoch, place = divmod(position + i, size)
            if epoch != self._epoch:
                self._epoch, self._order = epoch, np.random.default_rng([self.seed, epoch]).permutation(size)
            chosen[i] = self._order[place]
        return chosen

    def batch(self, position: int, count: int, share: Share | None = None) -> Tensor:
        """Return the photographs there, or a process's share of them: [count, 3, H, W] float32 in [−1, 1]."""
        indices = self.indices(position, count)
        if share is not None:
            indices = indices[share.of(torch.arange(count)).numpy()]
        mirrored = indices >= len(self.dataset.files)
        indices = indices % len(self.dataset.files)
        pixels = self.dataset.images(indices) if self._pixels is None else self._pixels[indices]
        pixels[mirrored] = pixels[mirrored, :, ::-1]
        return torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous().float() / 127.5 - 1


def _fits(dataset: Dataset) -> bool:
    return len(dataset.files) * dataset.size**2 * 3 <= MEMORY_SHARE * free_memory()


def free_memory() -> int:
    """Return how many bytes of memory are free, as far as the system says.

    Where it only says how much there is (macOS), half of that; where it says nothing (Windows), 0: photographs are then
    read from their file again and again.
    """
    for name, share in (("SC_AVPHYS_PAGES", 1.0), ("SC_PHYS_PAGES", 0.5)):
        try:
            return int(share * os.sysconf(name) * os.sysconf("SC_PAGE_SIZE"))
        except (ValueError, AttributeError):  # no such name; no such function
            continue
    return 0
