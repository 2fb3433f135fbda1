"""The methods of inversion behind one small interface: a batch of photographs in, their codes out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from atlas.progress import Progress
from pipeline.inversion.latents import Latents, rows_of
from pipeline.inversion.projector import Projector

DISPLAY_NAMES = {"e4e": "e4e", "restyle": "ReStyle", "projector": "projector"}


@dataclass(frozen=True)
class Batch:
    """Photographs to be inverted together.

    Attributes:
        images: [N, 3, H, W] float32 in [-1, 1].
        files: their names in the dataset.
        names: their source's names for them, which stay when photographs before them are taken down.
    """

    images: Tensor
    files: tuple[str, ...]
    names: tuple[str, ...]


@dataclass(frozen=True)
class Codes:
    """Latent codes of a batch: w [N, num_ws, w_dim] float32, and noise maps [N, R, R] where they are kept."""

    w: Tensor
    noise: Mapping[str, Tensor] = field(default_factory=dict)


class Finder(Protocol):
    """Finds the codes of a batch. ``units`` is how many units of progress that takes."""

    @property
    def units(self) -> int:
        """Return the units of progress of one batch."""

    def find(self, batch: Batch, progress: Progress) -> Codes:
        """Return the codes, and tell ``progress`` of the units done."""


@dataclass(frozen=True)
class Start:
    """Where the projector starts instead of at the mean: an encoder's codes, and the file they are from."""

    latents: Latents
    path: Path


@dataclass(frozen=True)
class ByProjector:
    """The projector, after `Projector.fit`."""

    projector: Projector
    start: Start | None = None
    keep_noise: bool = False

    @property
    def units(self) -> int:
        """Return the steps of the optimiser."""
        return self.projector.settings.steps

    def find(self, batch: Batch, progress: Progress) -> Codes:
        """Optimise codes from the mean of w, or from where the encoder has them."""
        first = None
        if self.start:
            first = torch.from_numpy(self.start.latents.w[rows_of(self.start.latents, batch.files, self.start.path)])
        found = self.projector.project(batch.images, batch.names, first, keep_noise=self.keep_noise, progress=progress)
        return Codes(found.w, found.noise)


@dataclass(frozen=True)
class ByEncoder:
    """An encoder, as `pipeline.inversion.load_encoder` gives it: images → codes."""

    encoder: Callable[[Tensor], Tensor]
    units: int = 1

    @torch.no_grad()
    def find(self, batch: Batch, progress: Progress) -> Codes:
        """Encode."""
        w = self.encoder(batch.images).float()
        progress(1, 1)
        return Codes(w)
