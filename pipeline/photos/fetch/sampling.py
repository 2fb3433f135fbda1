"""Where to ask for photographs: points drawn within a radius or inside areas, evenly or by tenths of deprivation."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import shapely

from atlas.errors import InputError
from pipeline.photos.areas import Areas
from pipeline.photos.fetch.roads import Roads
from pipeline.photos.plane import Plane

_BATCH, _MOST_BATCHES = 4096, 500
TENTHS = 10


@dataclass(frozen=True, eq=False)
class Field:
    """Where points may lie.

    Attributes:
        plane: metres for degrees.
        near: (latitude, longitude) of the middle of a circle; None for no circle.
        radius: of the circle, metres.
        areas: points must lie in one of these; None for any place.
        tenth: [A] int64, for each area the tenth 0 … 9 of deprivation it is drawn for, −1 for none; None where
            points are not drawn by tenths.
    """

    plane: Plane
    near: tuple[float, float] | None = None
    radius: float = math.inf
    areas: Areas | None = None
    tenth: np.ndarray | None = None


def field_plane(near: tuple[float, float] | None, areas: Areas | None) -> Plane:
    """Return the plane that is true in the middle of a circle, or of areas.

    Raises:
        InputError: there is neither.
    """
    if near is not None:
        return Plane(near[0])
    if areas is None:
        raise InputError("say where to look: --near LAT,LON with --radius, or --areas FILE, or both")
    _, south, _, north = shapely.total_bounds(areas.shapes)
    return Plane(float(south + north) / 2)


def draw_points(field: Field, count: int, seed: int, roads: Roads | None) -> np.ndarray:
    """Draw points, evenly over the field's surface, or over the length of its roads where there are some.

    Returns:
        [count, 2] latitude and longitude, rounded to 7 decimals (1 cm); for a field with tenths the points of each
        tenth are as many as of any other, give or take one, and are mixed.

    Raises:
        InputError: (nearly) no place of the field can be hit: it is empty, or has no roads, or lacks a tenth.
    """
    rng = np.random.default_rng(seed)
    wanted = np.full(1 if field.tenth is None else TENTHS, count // (1 if field.tenth is None else TENTHS))
    wanted[: count - wanted.sum()] += 1
    found: list[list[np.ndarray]] = [[] for _ in wanted]
    for _ in range(_MOST_BATCHES):
        if all(len(points) >= number for points, number in zip(found, wanted, strict=True)):
            break
        points = _proposals(field, rng, roads)
        for point, stratum in zip(points, _strata(field, points), strict=True):
            if stratum >= 0 and len(found[stratum]) < wanted[stratum]:
                found[stratum].append(point)
    short = [i for i, (points, number) in enumerate(zip(found, wanted, strict=True)) if len(points) < number]
    if short:
        where = "the place" if field.tenth is None else f"decile {short[0] + 1}"
        raise InputError(f"hardly any point {'of a road ' if roads else ''}lies in {where}: look in a larger one")
    drawn = np.array([point for points in found for point in points]).reshape(-1, 2)
    return np.round(drawn[rng.permutation(len(drawn))], 7)


def _proposals(field: Field, rng: np.random.Generator, roads: Roads | None) -> np.ndarray:
    """Return [n, 2] latitude and longitude, evenly over roads or over a rectangle around the field."""
    if roads is not None:
        ends = np.cumsum(shapely.length(roads.lines))
        along = rng.random(_BATCH) * ends[-1]
        line = np.minimum(np.searchsorted(ends, along, side="right"), len(ends) - 1)
        start = ends[line] - shapely.length(roads.lines[line])
        spots = shapely.get_coordinates(shapely.line_interpolate_point(roads.lines[line], along - start))
        return np.stack(field.plane.to_degrees(spots[:, 0], spots[:, 1]), 1)
    west, south, east, north = _rectangle(field)
    x, y = rng.uniform(west, east, _BATCH), rng.uniform(south, north, _BATCH)
    return np.stack(field.plane.to_degrees(x, y), 1)


def _rectangle(field: Field) -> tuple[float, float, float, float]:
    """Return (west, south, east, north) of the field in metres."""
    bounds = (-math.inf, -math.inf, math.inf, math.inf)
    if field.areas is not None:
        west, south, east, north = shapely.total_bounds(field.areas.shapes)
        bounds = (*field.plane.to_metres(south, west), *field.plane.to_metres(north, east))
    if field.near is not None:
        x, y = field.plane.to_metres(*field.near)
        bounds = (
            max(bounds[0], x - field.radius),
            max(bounds[1], y - field.radius),
            min(bounds[2], x + field.radius),
            min(bounds[3], y + field.radius),
        )
    if bounds[0] >= bounds[2] or bounds[1] >= bounds[3]:
        raise InputError("the circle and the areas do not meet: check --near, --radius and --areas")
    return bounds


def _strata(field: Field, points: np.ndarray) -> np.ndarray:
    """Return [n] int64, the stratum that each point counts for, −1 for one outside the field."""
    lat, lon = points[:, 0], points[:, 1]
    stratum = np.zeros(len(points), np.int64)
    if field.areas is not None:
        area, _ = field.areas.locate(lon, lat)
        stratum = np.where(area < 0, -1, 0 if field.tenth is None else field.tenth[area])
    if field.near is not None:
        x, y = field.plane.to_metres(lat, lon)
        middle_x, middle_y = field.plane.to_metres(*field.near)
        stratum = np.where(np.hypot(x - middle_x, y - middle_y) <= field.radius, stratum, -1)
    return stratum
