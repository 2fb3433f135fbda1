"""Photographs, areas and deprivation: geotagged pictures, or a drawn street, become ``dataset.zip``. Loads lazily."""

from __future__ import annotations

from typing import TYPE_CHECKING

from atlas.lazy import lazy

__all__ = ["Dataset", "Photo", "open_dataset"]

_HOMES = dict.fromkeys(__all__, "pipeline.photos.dataset")

if TYPE_CHECKING:
    from pipeline.photos.dataset import Dataset, Photo, open_dataset

__getattr__, __dir__ = lazy(__name__, _HOMES)
