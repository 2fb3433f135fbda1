"""How photographs are joined to areas: which are kept, from which point, by which table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from atlas.errors import InputError
from atlas.files import read_json
from atlas.preset import DatasetSettings
from pipeline.photos.listing import Listed
from pipeline.photos.mapping import Columns, read_columns
from pipeline.photos.plane import moved
from pipeline.photos.table import number_in

HEADING = "heading"
ACQUISITION = "acquisition.json"


@dataclass(frozen=True)
class JoinSettings:
    """What an import is told beyond its four files.

    Attributes:
        look_ahead: metres from the camera, along its heading, to the house that it looks at; 0 joins by the camera's
            own place. Needs the column ``heading``, degrees clockwise from north.
        columns: of a table that is no File 7.
        keep: table of the photographs to keep (`pipeline.photos.keep`).
    """

    look_ahead: float = 0.0
    columns: Columns | None = None
    keep: Path | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.look_ahead <= 100:
            raise InputError(f"look-ahead must be 0 … 100 metres, got {self.look_ahead:g}")

    def record(self) -> dict[str, Any]:
        """Return what is not usual, as JSON."""
        found: dict[str, Any] = {}
        if self.look_ahead:
            found["look_ahead_metres"] = self.look_ahead
        if self.columns is not None:
            found["columns"] = asdict(self.columns)
        if self.keep is not None:
            found["keep"] = self.keep.name
        return found


def join_of(settings: DatasetSettings, data: Path) -> JoinSettings:
    """Return what a preset says of the join, its list of those to keep looked up in the folder ``data``.

    Raises:
        InputError: the columns are not named as they must be.
    """
    columns = read_columns(
        settings.area_column, settings.health_column, settings.income_column, settings.education_column
    )
    return JoinSettings(settings.look_ahead, columns, data / settings.keep if settings.keep else None)


def positions(listed: Sequence[Listed], look_ahead: float, photos_csv: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return the points that photographs are joined by, (latitude [N], longitude [N]).

    Raises:
        InputError: they are to be moved, and one has no heading of 0 … 360 degrees.
    """
    if not look_ahead:
        return np.array([photo.lat for photo in listed]), np.array([photo.lon for photo in listed])
    if HEADING not in listed[0].attributes:
        raise InputError(f"{photos_csv} has no column {HEADING!r}, which --look-ahead needs: where each camera looks")
    points = []
    for photo in listed:
        where = f"{photos_csv}, {photo.file!r}"
        heading = number_in(photo.attributes[HEADING], 0, 360, HEADING, where)
        points.append(moved(photo.lat, photo.lon, heading, look_ahead))
    lat, lon = np.array(points).T
    return lat, lon


def acquisition_file(photos_csv: Path) -> Path | None:
    """Return the record that `atlas dataset fetch` left beside the table of its photographs, if it did."""
    path = photos_csv.with_name(ACQUISITION)
    return path if path.is_file() else None


def read_acquisition(photos_csv: Path) -> dict[str, Any]:
    """Return that record; empty where there is none.

    Raises:
        InputError: it is not a JSON object.
    """
    path = acquisition_file(photos_csv)
    if path is None:
        return {}
    value = read_json(path)
    if not isinstance(value, dict):
        raise InputError(f"{path} must be the record of a fetch, a JSON object: take it away or fetch again")
    return value
