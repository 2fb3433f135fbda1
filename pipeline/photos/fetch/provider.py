"""What a source of photographs does, whoever runs it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from pipeline.photos.fetch.terms import Terms


@dataclass(frozen=True)
class Found:
    """A photograph that a source offers. The journal keeps it, so it holds nothing secret and nothing that expires.

    Attributes:
        id: the source's own name of it.
        lat: of the camera, degrees.
        lon: of the camera, degrees.
        taken: "2018-07" or "2018-07-14", "" if unknown.
        heading: where the camera looks, degrees clockwise from north.
        contributor: who made it.
        page: where a person can see it at its source; "" if nowhere.
    """

    id: str
    lat: float
    lon: float
    taken: str
    heading: float
    contributor: str
    page: str

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Found:
        """Make one of what `dataclasses.asdict` made of it."""
        return cls(**value)


class Provider(Protocol):
    """A source of photographs."""

    name: str
    terms: Terms

    def look(self, lat: float, lon: float) -> list[Found]:
        """Return what there is near a point, the best first; nothing where there is nothing.

        Raises FailedError, FetchError, BudgetError.
        """

    def photograph(self, found: Found) -> bytes | None:
        """Return the file of one photograph, decoded once to see that it is whole; None if it is gone for good.

        Raises FailedError, FetchError, BudgetError.
        """
