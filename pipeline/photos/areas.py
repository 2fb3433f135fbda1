"""Boundaries of statistical areas, and which area a point lies in."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from shapely.geometry import shape

from atlas.errors import InputError
from pipeline.photos.imd import RankTable, read_text

_YEAR_PROPERTY = re.compile(r"LSOA(\d\d)CD", re.IGNORECASE)
# Between two editions of the boundaries most codes stay (in London 96 %), so few mismatches mean another year.
_MATCH_WITHOUT_YEAR, _MATCH_WITH_YEAR = 0.98, 0.5
_WGS84 = ("CRS84", "EPSG::4326", "EPSG:4326")


@dataclass(frozen=True, eq=False)
class Areas:
    """Areas with their boundaries, sorted by code.

    Attributes:
        name: the file's name, for messages.
        codes: [A], sorted.
        shapes: [A] object array of shapely polygons or multipolygons, longitude and latitude in degrees, WGS 84.
    """

    name: str
    codes: tuple[str, ...]
    shapes: np.ndarray

    def locate(self, lon: np.ndarray, lat: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Find the one area that each point lies within.

        A point exactly on a boundary, or where areas overlap, cannot be told to be in either: it is ambiguous.

        Args:
            lon: [N] degrees.
            lat: [N] degrees.

        Returns:
            [N] int64 in −1 … A − 1, the index of its area, −1 for none; and [N] bool, whether that is for ambiguity.
        """
        points = shapely.points(np.asarray(lon, np.float64), np.asarray(lat, np.float64))
        tree = shapely.STRtree(self.shapes)
        touched = np.bincount(tree.query(points, predicate="intersects")[0], minlength=len(points))
        point, area = tree.query(points, predicate="within")
        found = np.full(len(points), -1, np.int64)
        found[point] = area
        found[touched != 1] = -1
        found[np.bincount(point, minlength=len(points)) != 1] = -1
        return found, (found < 0) & (touched > 0)


def read_areas(path: Path, table: RankTable) -> Areas:
    """Read boundaries as GeoJSON and see that they are those of ``table``.

    The code of an area is its property ``LSOA11CD`` or ``LSOA21CD``, or else the property that holds most of the
    table's codes.

    Raises:
        InputError: no such file, not GeoJSON polygons in degrees, a code missing or there twice, boundaries of
            another year than the table's, or hardly any code in common.
    """
    features = _features(path)
    name, year = _code_property(features, table, path)
    codes = [_code(feature, name, path) for feature in features]
    if len(set(codes)) < len(codes):
        twice = next(c for i, c in enumerate(codes) if c in codes[:i])
        raise InputError(f"{path}: area {twice} is there twice: join its parts into one feature")
    _check_year(path, name, year, codes, table)
    order = sorted(range(len(codes)), key=codes.__getitem__)
    shapes = np.array([_polygon(features[i], codes[i], path) for i in order], object)
    _check_degrees(shapes, path)
    return Areas(path.name, tuple(codes[i] for i in order), shapes)


def read_shapes(path: Path) -> Areas:
    """Read polygons as GeoJSON where their codes do not matter: they are numbered, from "0", in their order.

    Raises:
        InputError: no such file, or not GeoJSON polygons in degrees.
    """
    features = _features(path)
    shapes = np.array([_polygon(feature, str(i), path) for i, feature in enumerate(features)], object)
    _check_degrees(shapes, path)
    return Areas(path.name, tuple(str(i) for i in range(len(features))), shapes)


def _features(path: Path) -> list[Mapping[str, Any]]:
    try:
        value = json.loads(read_text(path, "file of areas"))
    except (json.JSONDecodeError, RecursionError) as error:
        raise InputError(f"{path} is not valid JSON: {error}") from error
    features = value.get("features") if isinstance(value, dict) else None
    if not isinstance(features, list) or not features or not all(isinstance(f, dict) for f in features):
        raise InputError(f"{path} must be a GeoJSON FeatureCollection with a feature for each area")
    system = json.dumps(value.get("crs", "CRS84"))
    if not any(name in system for name in _WGS84):
        raise InputError(f"{path} must give longitude and latitude (WGS 84), its crs is {system}: export it as WGS 84")
    return features


def _properties(feature: Mapping[str, Any]) -> Mapping[str, Any]:
    properties = feature.get("properties")
    return properties if isinstance(properties, dict) else {}


def _code_property(features: Sequence[Mapping[str, Any]], table: RankTable, path: Path) -> tuple[str, int | None]:
    """Return the property that holds the codes, and the year that its name says."""
    names = sorted({name for feature in features for name in _properties(feature)})
    dated = {name: 2000 + int(match[1]) for name in names if (match := _YEAR_PROPERTY.fullmatch(name))}
    for name, year in dated.items():
        if year == table.year:
            return name, year
    if dated and table.year is not None:
        return next(iter(dated.items()))
    known = set(table.codes)
    matches = {name: sum(_text(_properties(f).get(name)) in known for f in features) for name in names}
    best = max(names, key=matches.__getitem__, default="")
    if not best or not matches[best]:
        raise InputError(
            f"{path} has no property with the area codes of {table.name}, such as {table.codes[0]}: "
            f"its properties are {', '.join(names) or 'none'}"
        )
    return best, None


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _code(feature: Mapping[str, Any], name: str, path: Path) -> str:
    code = _text(_properties(feature).get(name)).strip()
    if not code:
        raise InputError(f"{path}: every feature must have its area's code as {name}, one has {_properties(feature)}")
    return code


def _check_year(path: Path, name: str, year: int | None, codes: Iterable[str], table: RankTable) -> None:
    ours, theirs = set(codes), set(table.codes)
    if year is not None and year != table.year:
        raise InputError(
            f"{path} holds the boundaries of {year} ({name}) and {table.name} the ranks for those of {table.year}: "
            "give boundaries and ranks of the same year"
        )
    both, smaller = len(ours & theirs), min(len(ours), len(theirs))
    if both < smaller * (_MATCH_WITHOUT_YEAR if year is None and table.year is not None else _MATCH_WITH_YEAR):
        same = "the same edition" if table.year is None else str(table.year)
        raise InputError(
            f"{path} has {len(ours)} areas and {table.name} has {len(theirs)}, and only {both} codes are in both: "
            f"give boundaries of {same}, as in the table"
        )


def _polygon(feature: Mapping[str, Any], code: str, path: Path) -> Any:
    geometry = feature.get("geometry")
    kind = geometry.get("type") if isinstance(geometry, dict) else None
    if kind not in ("Polygon", "MultiPolygon"):
        raise InputError(f"{path}: area {code} must be a Polygon or a MultiPolygon, got {kind}")
    try:
        polygon = shape(geometry)
        sound = polygon if polygon.is_valid else shapely.make_valid(polygon)
    except (ValueError, TypeError, IndexError, KeyError, shapely.errors.ShapelyError) as error:
        raise InputError(f"{path}: the boundary of area {code} is malformed: {error}") from error
    if sound.is_empty:
        raise InputError(f"{path}: the boundary of area {code} is empty")
    return sound


def _check_degrees(shapes: np.ndarray, path: Path) -> None:
    west, south, east, north = shapely.total_bounds(shapes)
    if not (-180 <= west <= east <= 180 and -90 <= south <= north <= 90):
        raise InputError(
            f"{path} must give longitude and latitude in degrees, it reaches from {west:g}, {south:g} "
            f"to {east:g}, {north:g}: export it as WGS 84"
        )
