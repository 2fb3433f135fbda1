"""The published artefact of an inequality atlas: grid, archive, packs and site. Imports no PyTorch.

Public names are loaded when first used, so that ``import atlas`` stays instant.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from atlas.lazy import lazy

__version__ = "0.1.0"
__all__ = ["Archive", "AtlasError", "Grid", "InputError", "__version__", "open_atlas"]

_HOMES = {
    "Archive": "atlas.archive",
    "open_atlas": "atlas.archive",
    "Grid": "atlas.grid",
    "AtlasError": "atlas.errors",
    "InputError": "atlas.errors",
}

if TYPE_CHECKING:
    from atlas.archive import Archive, open_atlas
    from atlas.errors import AtlasError, InputError
    from atlas.grid import Grid

__getattr__, __dir__ = lazy(__name__, _HOMES)
