"""Road lines, and which way a vehicle on them looks."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from shapely.geometry import shape

from atlas.errors import InputError
from pipeline.photos.imd import read_text
from pipeline.photos.plane import Plane

_REVERSED = ("-1", "reverse")


@dataclass(frozen=True, eq=False)
class Roads:
    """Road lines in metres on a plane, each drawn in the direction of travel.

    Attributes:
        lines: [R] object array of shapely LineStrings of at least two distinct points.
        plane: what turns degrees into their metres.
        tree: shapely STRtree of the lines.
    """

    lines: np.ndarray
    plane: Plane
    tree: Any

    def bearing(self, lat: float, lon: float, within: float) -> float | None:
        """Return the direction of travel of the road nearest to a point.

        Args:
            lat: degrees.
            lon: degrees.
            within: metres; a road farther away does not count.

        Returns:
            Degrees clockwise from north, 0 ≤ bearing < 360, of that road's segment nearest to the point; None if no
            road is near.
        """
        point = shapely.Point(*self.plane.to_metres(lat, lon))
        found = self.tree.query_nearest(point, max_distance=within, all_matches=True)
        return _bearing_at(self.lines[int(found.min())], point) if len(found) else None


def _bearing_at(line: Any, point: Any) -> float:
    """Return the bearing of the segment of ``line`` that is nearest to ``point``."""
    corners = shapely.get_coordinates(line)
    segments = shapely.linestrings(np.stack([corners[:-1], corners[1:]], 1))
    long = np.flatnonzero(shapely.length(segments) > 0)
    chosen = long[int(np.argmin(shapely.distance(segments[long], point)))]
    (x0, y0), (x1, y1) = corners[chosen], corners[chosen + 1]
    return math.degrees(math.atan2(x1 - x0, y1 - y0)) % 360


def left_of(bearing: float) -> float:
    """Return the direction directly to the left of ``bearing``, 0 ≤ degrees < 360."""
    return (bearing - 90) % 360


def right_of(bearing: float) -> float:
    """Return the direction directly to the right of ``bearing``, 0 ≤ degrees < 360."""
    return (bearing + 90) % 360


def apart(a: float, b: float) -> float:
    """Return the angle between two directions in degrees, 0 … 180."""
    return abs((a - b + 180) % 360 - 180)


def read_roads(path: Path, plane: Plane) -> Roads:
    """Read road lines as GeoJSON, longitude and latitude.

    A line is taken to be drawn in the direction of travel, as OpenStreetMap draws one-way roads; one with the
    property ``oneway`` = -1 is turned round. A road with traffic both ways is travelled as it is drawn.

    Raises:
        InputError: no such file, not GeoJSON, or without a LineString.
    """
    try:
        value = json.loads(read_text(path, "file of roads"))
    except (json.JSONDecodeError, RecursionError) as error:
        raise InputError(f"{path} is not valid JSON: {error}") from error
    features = value.get("features") if isinstance(value, dict) else None
    if not isinstance(features, list):
        raise InputError(f"{path} must be a GeoJSON FeatureCollection of road lines")
    lines = [line for feature in features for line in _lines(feature, path)]
    if not lines:
        raise InputError(f"{path} holds no LineString: give road lines, such as those of OpenStreetMap")
    drawn = np.array([plane.line(line) for line in lines], object)
    return Roads(drawn, plane, shapely.STRtree(drawn))


def _lines(feature: Any, path: Path) -> list[np.ndarray]:
    """Return the lines of one feature as [n, 2] longitude and latitude; none for what is no line."""
    geometry = feature.get("geometry") if isinstance(feature, dict) else None
    if not isinstance(geometry, dict) or geometry.get("type") not in ("LineString", "MultiLineString"):
        return []
    try:
        parts = shapely.get_parts(shape(geometry))
    except (ValueError, TypeError, IndexError, KeyError, shapely.errors.ShapelyError) as error:
        raise InputError(f"{path}: a road is malformed: {error}") from error
    properties = feature.get("properties")
    way = str(properties.get("oneway", "")) if isinstance(properties, dict) else ""
    found = []
    for part in parts:
        corners = shapely.get_coordinates(part)
        west, south, east, north = shapely.bounds(part)
        if not (-180 <= west <= east <= 180 and -90 <= south <= north <= 90):
            raise InputError(f"{path} must give longitude and latitude in degrees: export it as WGS 84")
        if shapely.length(part) > 0:
            found.append(corners[::-1] if way in _REVERSED else corners)
    return found
