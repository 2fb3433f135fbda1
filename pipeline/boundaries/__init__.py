"""What separates deprived from privileged areas in latent space, and how to walk across. Loaded when first used."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__all__ = ["Boundaries", "LinearBoundary", "OwnCodes", "read_boundaries", "step_sizes", "typicality"]

_HOMES = {
    "Boundaries": "pipeline.boundaries.store",
    "LinearBoundary": "pipeline.boundaries.svm",
    "OwnCodes": "pipeline.boundaries.typical",
    "read_boundaries": "pipeline.boundaries.store",
    "step_sizes": "pipeline.boundaries.store",
    "typicality": "pipeline.boundaries.typical",
}

if TYPE_CHECKING:
    from pipeline.boundaries.store import Boundaries, read_boundaries, step_sizes
    from pipeline.boundaries.svm import LinearBoundary
    from pipeline.boundaries.typical import OwnCodes, typicality


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'pipeline.boundaries' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
