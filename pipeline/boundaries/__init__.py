"""What separates deprived from privileged areas in latent space, and how to walk across. Loaded when first used."""

from __future__ import annotations

from typing import TYPE_CHECKING

from atlas.lazy import lazy

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

__getattr__, __dir__ = lazy(__name__, _HOMES)
