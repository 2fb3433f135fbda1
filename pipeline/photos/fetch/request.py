"""What is to be fetched, checked, and the points that follow from it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from atlas.errors import InputError
from atlas.files import sha256_path
from atlas.grid import AXES
from pipeline.photos.areas import Areas, read_areas, read_shapes
from pipeline.photos.fetch import google, mapillary
from pipeline.photos.fetch.google import GoogleOptions
from pipeline.photos.fetch.mapillary import MapillaryOptions
from pipeline.photos.fetch.roads import Roads, read_roads
from pipeline.photos.fetch.sampling import TENTHS, Field, draw_points, field_plane
from pipeline.photos.imd import read_imd
from pipeline.photos.region import make_region


@dataclass(frozen=True)
class FetchRequest:
    """One fetch, all that decides its result.

    Attributes:
        options: of the source, and thereby which source.
        points: how many places to look at, at least 1.
        near: (latitude, longitude) of the middle of a circle, or None.
        radius_km: of the circle.
        areas: GeoJSON of areas that points must lie in, or None.
        imd: table of ranks; needed with ``stratify``.
        stratify: "" or the axis by whose tenths the points are shared out.
        roads: GeoJSON of road lines, or None. Google needs them.
        per_point: photographs taken at one place, at most.
        seed: of the points.
        permission: Google's written permission, as a note; "" for none. Google needs one.
    """

    options: GoogleOptions | MapillaryOptions
    points: int
    near: tuple[float, float] | None = None
    radius_km: float = 15.0
    areas: Path | None = None
    imd: Path | None = None
    stratify: str = ""
    roads: Path | None = None
    per_point: int = 1
    seed: int = 1
    permission: str = ""

    def __post_init__(self) -> None:
        if self.points < 1 or self.per_point < 1:
            raise InputError(
                f"points and photographs per point must be at least 1, got {self.points}, {self.per_point}"
            )
        if not 0 < self.radius_km <= 200:
            raise InputError(f"the radius must be more than 0 and at most 200 km, got {self.radius_km:g}")
        if self.near is not None and not (abs(self.near[0]) <= 85 and abs(self.near[1]) <= 180):
            raise InputError(f"near must be a latitude within 85 and a longitude within 180 degrees, got {self.near}")
        if self.stratify and self.stratify not in AXES:
            raise InputError(f"points can be shared out by {', '.join(AXES)}, got {self.stratify!r}")
        if self.stratify and (self.areas is None or self.imd is None):
            raise InputError("to share points out by deprivation, give --areas and --imd")
        if isinstance(self.options, GoogleOptions):
            self._check_google()
        elif self.options.side != "either" and self.roads is None:
            raise InputError(f"only road lines tell which camera looks to the {self.options.side}: give --roads")

    def _check_google(self) -> None:
        if not self.permission.strip():
            raise InputError(
                f"{google.GOOGLE.summary} If you have that agreement, say which with --permission "
                '"who agreed, when, to what"; it is kept in the dataset. Otherwise use --source mapillary'
            )
        if self.roads is None:
            raise InputError(
                "Google's metadata holds no direction of travel: give road lines, such as OpenStreetMap's, with --roads"
            )

    @property
    def source(self) -> str:
        """Return "google" or "mapillary"."""
        return "google" if isinstance(self.options, GoogleOptions) else "mapillary"

    def record(self) -> dict[str, Any]:
        """Return all of it as JSON, files as their names and SHA-256: what a later run must have in common."""
        files = {"areas": self.areas, "imd": self.imd, "roads": self.roads}
        options = self.options
        camera = google.settings(options) if isinstance(options, GoogleOptions) else mapillary.settings(options)
        return {
            "source": self.source,
            "points": self.points,
            "near": None if self.near is None else list(self.near),
            "radius_km": self.radius_km if self.near else None,
            "stratify": self.stratify,
            "per_point": self.per_point,
            "seed": self.seed,
            "camera": camera,
            "files": {name: None if path is None else _file(path, name) for name, path in files.items()},
            "permission": self.permission.strip(),
        }


def _file(path: Path, what: str) -> dict[str, str]:
    if not path.is_file():
        raise InputError(f"the file of {what} is not there: {path}")
    return {"name": path.name, "sha256": sha256_path(path)}


def plan(request: FetchRequest) -> tuple[np.ndarray, Roads | None]:
    """Return the points to look at, [N, 2] latitude and longitude, and the roads.

    Raises:
        InputError: a file cannot be read, or no points can be drawn.
    """
    areas, tenth = _areas(request)
    plane = field_plane(request.near, areas)
    radius = math.inf if request.near is None else request.radius_km * 1000
    field = Field(plane, request.near, radius, areas, tenth)
    roads = None if request.roads is None else read_roads(request.roads, plane)
    return draw_points(field, request.points, request.seed, roads), roads


def _areas(request: FetchRequest) -> tuple[Areas | None, np.ndarray | None]:
    if request.areas is None:
        return None, None
    if request.imd is None or not request.stratify:
        return read_shapes(request.areas), None
    table = read_imd(request.imd)
    areas = read_areas(request.areas, table)
    region = make_region(areas, table)
    tenths = np.minimum((region.percentiles[:, AXES.index(request.stratify)] * TENTHS).astype(np.int64), TENTHS - 1)
    return areas, np.where(region.rows < 0, -1, tenths[region.rows])
