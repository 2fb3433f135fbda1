"""What each source allows, as far as an honest reading goes. No legal advice: the terms themselves decide."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Terms:
    """What goes with photographs of one source.

    Attributes:
        licence: of the photographs, one line.
        attribution: who is to be named; "" where each photograph has its own contributor.
        summary: what the terms allow and forbid, in plain words.
        address: of the terms.
    """

    licence: str
    attribution: str
    summary: str
    address: str


MAPILLARY = Terms(
    licence="CC BY-SA 4.0",
    attribution="Mapillary and its contributors",
    summary=(
        "Mapillary's photographs are under CC BY-SA 4.0: they may be stored, changed and trained on; name the "
        "contributors, and share what is made from them under the same licence."
    ),
    address="https://www.mapillary.com/terms",
)
GOOGLE = Terms(
    licence="Google Street View: all rights reserved, not for redistribution",
    attribution="© Google",
    summary=(
        "Google's terms forbid storing Street View images beyond short caching, mass downloads, and using them to "
        "train or test machine learning, unless Google has agreed to it in writing."
    ),
    address="https://cloud.google.com/maps-platform/terms",
)
