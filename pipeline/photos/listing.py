"""The user's own table of photographs: which file was taken where."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from atlas.errors import InputError
from pipeline.photos.imd import read_text
from pipeline.photos.table import COLUMNS, number_in, read_rows, require_columns

NEEDED = ("file", "lat", "lon")


@dataclass(frozen=True)
class Listed:
    """A photograph as the user lists it.

    Attributes:
        file: its name in the zip or folder.
        lat: degrees, −90 … 90.
        lon: degrees, −180 … 180.
        taken: when, "" if unknown.
        attributes: the table's further columns, such as "blurry".
    """

    file: str
    lat: float
    lon: float
    taken: str
    attributes: Mapping[str, str]


def read_listing(path: Path) -> list[Listed]:
    """Read a table with the columns file, lat and lon, perhaps taken, and any others.

    Raises:
        InputError: no such file, not UTF-8, a needed column missing, a coordinate that is none, a file without a name
            or there twice; the message names the row (1 is the heading).
    """
    headings, rows = read_rows(read_text(path, "table of photographs"), str(path))
    require_columns(headings, NEEDED, str(path))
    further = [h for h in dict.fromkeys(headings) if h and h not in COLUMNS]
    listed: dict[str, Listed] = {}
    for where, row in rows:
        photo = _listed(row, further, where)
        if photo.file in listed:
            raise InputError(f"{where}: {photo.file!r} is listed twice")
        listed[photo.file] = photo
    if not listed:
        raise InputError(f"{path} lists no photographs")
    return list(listed.values())


def _listed(row: Mapping[str, str], further: list[str], where: str) -> Listed:
    if not row["file"]:
        raise InputError(f"{where}: file must name a photograph, it is empty")
    return Listed(
        file=row["file"],
        lat=number_in(row["lat"], -90, 90, "lat", where),
        lon=number_in(row["lon"], -180, 180, "lon", where),
        taken=row.get("taken", ""),
        attributes={column: row[column] for column in further},
    )
