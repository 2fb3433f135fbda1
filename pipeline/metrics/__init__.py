"""How good a generator is: its samples against the photographs, in a feature space. Loaded when first used."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__all__ = ["Interval", "frechet_distance", "kernel_distance", "precision_recall"]

if TYPE_CHECKING:
    from pipeline.metrics.statistics import Interval, frechet_distance, kernel_distance, precision_recall


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'pipeline.metrics' has no attribute {name!r}")
    from pipeline.metrics import statistics

    return getattr(statistics, name)


def __dir__() -> list[str]:
    return sorted(__all__)
