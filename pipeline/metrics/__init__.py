"""How good a generator is: its samples against the photographs, in a feature space. Loaded when first used."""

from __future__ import annotations

from typing import TYPE_CHECKING

from atlas.lazy import lazy

__all__ = ["Interval", "frechet_distance", "kernel_distance", "precision_recall"]

_HOMES = dict.fromkeys(__all__, "pipeline.metrics.statistics")

if TYPE_CHECKING:
    from pipeline.metrics.statistics import Interval, frechet_distance, kernel_distance, precision_recall

__getattr__, __dir__ = lazy(__name__, _HOMES)
