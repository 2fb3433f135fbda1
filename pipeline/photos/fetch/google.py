"""The Street View Static API: the free metadata first, then one picture a panorama, square to the road."""

from __future__ import annotations

import dataclasses
import math
import re
from dataclasses import dataclass
from typing import Any

from atlas.errors import InputError
from pipeline.photos.fetch.picture import require_picture
from pipeline.photos.fetch.provider import Found
from pipeline.photos.fetch.roads import Roads, left_of, right_of
from pipeline.photos.fetch.terms import GOOGLE
from pipeline.photos.fetch.web import Answer, FetchError, Web, read_object

ENDPOINT = "https://maps.googleapis.com/maps/api/streetview"
KEY_VARIABLE = "GOOGLE_MAPS_API_KEY"
MAX_SIDE = 640
_NOTHING = ("ZERO_RESULTS", "NOT_FOUND")
_REFUSED = ("REQUEST_DENIED", "INVALID_REQUEST")
_ID = re.compile(r"[A-Za-z0-9_-]{1,200}")
_GONE = 404


@dataclass(frozen=True)
class GoogleOptions:
    """How a picture is asked for.

    Attributes:
        size: side in pixels, at most 640, the API's own limit.
        fov: horizontal field of view in degrees, 10 … 120.
        pitch: upwards, degrees.
        side: "left" or "right" of the direction of travel.
        radius: metres around a point in which a panorama counts.
        road_within: metres; a panorama farther from every road is left out.
    """

    size: int = 640
    fov: float = 90.0
    pitch: float = 0.0
    side: str = "left"
    radius: float = 50.0
    road_within: float = 20.0

    def __post_init__(self) -> None:
        if not 16 <= self.size <= MAX_SIDE:
            raise InputError(f"size must be 16 … {MAX_SIDE} pixels, the API's limit, got {self.size}")
        if not 10 <= self.fov <= 120:
            raise InputError(f"the field of view must be 10 … 120 degrees, got {self.fov:g}")


class Google:
    """Street View panoramas beside roads."""

    name = "google"
    terms = GOOGLE

    def __init__(self, web: Web, key: str, roads: Roads, options: GoogleOptions, endpoint: str = ENDPOINT) -> None:
        self._web, self._key, self._roads, self._options = web, key, roads, options
        self._endpoint = endpoint.rstrip("/")

    def look(self, lat: float, lon: float) -> list[Found]:
        """Ask the metadata, free of charge, for the outdoor panorama nearest to a point."""
        query = {"location": f"{lat:.7f},{lon:.7f}", "radius": f"{self._options.radius:g}", "source": "outdoor"}
        answer = self._web.get(f"{self._endpoint}/metadata", {**query, "key": self._key}, sound=_metadata)
        metadata = _metadata(answer)
        status = str(metadata.get("status"))
        if status in _NOTHING:
            return []
        if status != "OK":
            message = self._web.clean(str(metadata.get("error_message", "")))
            raise FetchError(
                f"Google refused the request ({self._web.clean(status)} {message}): check the key in {KEY_VARIABLE}, "
                "then run the same command again"
            )
        found = self._found(metadata)
        return [] if found is None else [found]

    def photograph(self, found: Found) -> bytes | None:
        """Ask for the picture of a panorama."""
        options = self._options
        query = {
            "pano": found.id,
            "size": f"{options.size}x{options.size}",
            "heading": f"{found.heading:.2f}",
            "fov": f"{options.fov:g}",
            "pitch": f"{options.pitch:g}",
            "return_error_code": "true",
        }
        answer = self._web.get(self._endpoint, {**query, "key": self._key}, sound=_whole)
        if answer.status == _GONE:
            return None
        if answer.status != 200:
            text = self._web.clean(answer.body.decode("utf-8", "replace"))
            raise FetchError(
                f"Google refused a picture (HTTP {answer.status} {text}): check the key in {KEY_VARIABLE} and its "
                "billing, then run the same command again"
            )
        return answer.body

    def _found(self, metadata: dict[str, Any]) -> Found | None:
        place, pano = metadata["location"], metadata["pano_id"]
        travel = self._roads.bearing(place["lat"], place["lng"], self._options.road_within)
        if travel is None:
            return None
        heading = left_of(travel) if self._options.side == "left" else right_of(travel)
        return Found(
            id=pano,
            lat=float(place["lat"]),
            lon=float(place["lng"]),
            taken=str(metadata.get("date", ""))[:10],
            heading=round(heading, 2) % 360,
            contributor=str(metadata.get("copyright", "")),
            page="",
        )


def _metadata(answer: Answer) -> dict[str, Any]:
    """Return the metadata of an answer; ValueError for one that asks to wait or lacks what it must have."""
    if answer.status >= 400:
        try:
            return {"status": f"HTTP {answer.status}", **read_object(answer)}
        except ValueError:
            return {"status": f"HTTP {answer.status}"}
    metadata = read_object(answer)
    status = metadata.get("status")
    if status == "OK":
        place = metadata.get("location")
        if not isinstance(place, dict) or not all(_is_degrees(place.get(k), n) for k, n in (("lat", 90), ("lng", 180))):
            raise ValueError("metadata without a location")
        if not isinstance(metadata.get("pano_id"), str) or not _ID.fullmatch(metadata["pano_id"]):
            raise ValueError("metadata without a panorama")
    elif status not in (*_NOTHING, *_REFUSED):
        raise ValueError(f"status {status}")  # OVER_QUERY_LIMIT, UNKNOWN_ERROR
    return metadata


def _is_degrees(value: Any, limit: float) -> bool:
    return isinstance(value, int | float) and math.isfinite(value) and -limit <= value <= limit


def _whole(answer: Answer) -> None:
    if answer.status == 200:
        require_picture(answer.body)


def settings(options: GoogleOptions) -> dict[str, Any]:
    """Return the options for the record of a fetch."""
    return dataclasses.asdict(options)
