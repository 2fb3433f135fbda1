"""The Mapillary Graph API, version 4: photographs in a small box, those that look across the road."""

from __future__ import annotations

import dataclasses
import math
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from atlas.errors import InputError
from pipeline.photos.fetch.picture import require_picture
from pipeline.photos.fetch.provider import Found
from pipeline.photos.fetch.roads import Roads, apart, left_of, right_of
from pipeline.photos.fetch.terms import MAPILLARY
from pipeline.photos.fetch.web import Answer, FailedError, FetchError, Web, read_object
from pipeline.photos.plane import Plane

ENDPOINT = "https://graph.mapillary.com"
KEY_VARIABLE = "MAPILLARY_ACCESS_TOKEN"
BOX_LIMIT = 0.01  # degrees; the API refuses boxes of that side and larger
LIST_LIMIT = 500
THUMBNAILS = (256, 1024, 2048)
SIDES = ("left", "right", "either")
_FIELDS = "id,geometry,computed_geometry,compass_angle,computed_compass_angle,captured_at,camera_type,creator"
_ID = re.compile(r"[0-9]{1,30}")
_PERSPECTIVE = ("perspective", "fisheye", "brown")
_GONE = (404, 410)
_EXPIRED = (401, 403)
_FRESH_TRIES = 3


@dataclass(frozen=True)
class MapillaryOptions:
    """Which photographs are wanted.

    Attributes:
        size: width of a thumbnail in pixels, as Mapillary offers them: 256, 1024 or 2048.
        box: side in metres of the box around each point.
        side: of the direction of travel that the camera looks to: "left", "right" or "either". Needs roads.
        tolerance: degrees that the camera may be off square to the road.
        road_within: metres; a photograph farther from every road is left out.
    """

    size: int = 1024
    box: float = 100.0
    side: str = "either"
    tolerance: float = 30.0
    road_within: float = 20.0

    def __post_init__(self) -> None:
        if self.size not in THUMBNAILS:
            raise InputError(f"size must be one that Mapillary offers, {THUMBNAILS}, got {self.size}")
        if not 1 <= self.box <= 1000:
            raise InputError(f"the box must be 1 … 1000 metres, got {self.box:g}")
        if not 0 < self.tolerance <= 90:
            raise InputError(f"the tolerance must be more than 0 and at most 90 degrees, got {self.tolerance:g}")


class Mapillary:
    """Photographs of Mapillary. The key goes in a header; the addresses of thumbnails expire and are never kept."""

    name = "mapillary"
    terms = MAPILLARY

    def __init__(
        self, web: Web, key: str, roads: Roads | None, options: MapillaryOptions, endpoint: str = ENDPOINT
    ) -> None:
        self._web, self._roads, self._options = web, roads, options
        self._endpoint, self._headers = endpoint.rstrip("/"), {"Authorization": f"OAuth {key}"}
        self._thumbnail = f"thumb_{options.size}_url"
        self._fresh: dict[str, str] = {}

    def look(self, lat: float, lon: float) -> list[Found]:
        """Ask for the photographs in the box around a point, nearest to it first."""
        query = {
            "fields": f"{_FIELDS},{self._thumbnail}",
            "bbox": ",".join(f"{edge:.7f}" for edge in box(lat, lon, self._options.box)),
            "is_pano": "false",
            "limit": str(LIST_LIMIT),
        }
        answer = self._web.get(f"{self._endpoint}/images", query, self._headers, sound=_listing)
        self._require_allowed(answer)
        rows = _listing(answer)
        self._fresh = {str(row.get("id")): str(row.get(self._thumbnail, "")) for row in rows}
        found = [photo for row in rows if (photo := self._found(row)) is not None]
        plane = Plane(lat)
        x, y = plane.to_metres(lat, lon)

        def distance(photo: Found) -> tuple[float, str]:
            there_x, there_y = plane.to_metres(photo.lat, photo.lon)
            return math.hypot(there_x - x, there_y - y), photo.id

        return sorted(found, key=distance)

    def photograph(self, found: Found) -> bytes | None:
        """Fetch a thumbnail at once, or ask for its address anew if it has expired."""
        for _ in range(_FRESH_TRIES):
            address = self._fresh.pop(found.id, "") or self._address(found.id)
            if not address:
                return None
            answer = self._web.get(address, sound=_whole)
            if answer.status == 200:
                return answer.body
            if answer.status not in (*_EXPIRED, *_GONE):
                raise FailedError(f"HTTP {answer.status} for the thumbnail of {found.id}")
        raise FailedError(f"the address of the thumbnail of {found.id} expires before it can be fetched")

    def _address(self, photo: str) -> str:
        answer = self._web.get(f"{self._endpoint}/{photo}", {"fields": self._thumbnail}, self._headers, sound=_record)
        if answer.status in _GONE:
            return ""
        self._require_allowed(answer)
        return str(_record(answer).get(self._thumbnail, ""))

    def _require_allowed(self, answer: Answer) -> None:
        if answer.status == 200:
            return
        try:
            error = read_object(answer).get("error")
        except ValueError:
            error = None
        message = self._web.clean(str(error.get("message", ""))) if isinstance(error, dict) else ""
        raise FetchError(
            f"Mapillary refused the request (HTTP {answer.status} {message}): check the token in {KEY_VARIABLE}, "
            "then run the same command again"
        )

    def _found(self, row: dict[str, Any]) -> Found | None:
        """Return a photograph that can be used: an ordinary camera at a known place that looks across the road."""
        place, heading = _point(row), _number(row, "computed_compass_angle", "compass_angle")
        if place is None or heading is None or not _ID.fullmatch(str(row.get("id", ""))):
            return None
        if row.get("camera_type", "perspective") not in _PERSPECTIVE or not self._looks_across(*place, heading):
            return None
        creator = row.get("creator")
        return Found(
            id=str(row["id"]),
            lat=place[0],
            lon=place[1],
            taken=_day(row.get("captured_at")),
            heading=round(heading, 2) % 360,
            contributor=str(creator.get("username", "")) if isinstance(creator, dict) else "",
            page=f"https://www.mapillary.com/app/?pKey={row['id']}",
        )

    def _looks_across(self, lat: float, lon: float, heading: float) -> bool:
        if self._roads is None:
            return True
        travel = self._roads.bearing(lat, lon, self._options.road_within)
        if travel is None:
            return False
        wanted = {"left": [left_of(travel)], "right": [right_of(travel)]}
        directions = wanted.get(self._options.side, [left_of(travel), right_of(travel)])
        return any(apart(heading, direction) <= self._options.tolerance for direction in directions)


def box(lat: float, lon: float, side: float) -> tuple[float, float, float, float]:
    """Return (west, south, east, north) in degrees of a box of ``side`` metres, below the API's limit everywhere."""
    width, height = Plane(lat).scale
    across, up = (min(side / scale, 0.99 * BOX_LIMIT) / 2 for scale in (max(width, 1.0), height))
    return lon - across, lat - up, lon + across, lat + up


def _listing(answer: Answer) -> list[dict[str, Any]]:
    """Return the photographs that an answer lists; ValueError if it is cut short. A refusal lists none."""
    if answer.status != 200:
        return []
    data = read_object(answer).get("data")
    if not isinstance(data, list):
        raise ValueError("a list of photographs without data")
    return [row for row in data if isinstance(row, dict)]


def _record(answer: Answer) -> dict[str, Any]:
    return read_object(answer) if answer.status == 200 else {}


def _whole(answer: Answer) -> None:
    if answer.status == 200:
        require_picture(answer.body)


def _point(row: dict[str, Any]) -> tuple[float, float] | None:
    """Return (lat, lon), as Mapillary corrected it if it did."""
    for name in ("computed_geometry", "geometry"):
        geometry = row.get(name)
        place = geometry.get("coordinates") if isinstance(geometry, dict) else None
        if isinstance(place, list) and len(place) >= 2 and all(isinstance(c, int | float) for c in place[:2]):
            lon, lat = float(place[0]), float(place[1])
            if -180 <= lon <= 180 and -90 <= lat <= 90:
                return lat, lon
    return None


def _number(row: dict[str, Any], *names: str) -> float | None:
    for name in names:
        value = row.get(name)
        if isinstance(value, int | float) and math.isfinite(value):
            return float(value)
    return None


def _day(milliseconds: Any) -> str:
    try:
        return datetime.fromtimestamp(int(milliseconds) / 1000, UTC).strftime("%Y-%m-%d")
    except (TypeError, ValueError, OverflowError, OSError):
        return ""


def settings(options: MapillaryOptions) -> dict[str, Any]:
    """Return the options for the record of a fetch."""
    return dataclasses.asdict(options)
