"""The rows of ``photos.csv``: what is known of each photograph, as text and back."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from atlas.errors import InputError
from atlas.grid import AXES

RANK_COLUMNS = tuple(f"{axis}_rank" for axis in AXES)
PERCENTILE_COLUMNS = tuple(f"{axis}_percentile" for axis in AXES)
COLUMNS = (
    *("file", "source", "source_id", "lat", "lon", "taken", "area"),
    *RANK_COLUMNS,
    *PERCENTILE_COLUMNS,
    "group",
)


@dataclass(frozen=True)
class Photo:
    """What is known of one photograph: a row of ``photos.csv``.

    Attributes:
        file: member of the dataset's zip, "00000/img00000000.png".
        source: where it comes from, such as the name of the zip or folder that was imported.
        source_id: its name there.
        lat: latitude in degrees, −90 … 90, WGS 84.
        lon: longitude in degrees, −180 … 180.
        taken: when, as the source says it, such as "2018-07"; "" if unknown.
        area: code of the statistical area that it stands in.
        ranks: the area's ranks as published, (health, income, education), 1 the most deprived.
        percentiles: the area's place among all areas of the study region, (health, income, education),
            0 the most deprived, 1 the least.
        group: the spatial block that splits keep together: its 1 km cell, such as "E0012S0003".
        attributes: further columns by heading: what else is known, as text.
    """

    file: str
    source: str
    source_id: str
    lat: float
    lon: float
    taken: str
    area: str
    ranks: tuple[int, int, int]
    percentiles: tuple[float, float, float]
    group: str
    attributes: Mapping[str, str] = field(default_factory=dict)


class TableWriter:
    """Collects rows as CSV text. The first photograph's attributes decide the further columns."""

    def __init__(self) -> None:
        self._text = io.StringIO()
        self._csv = csv.writer(self._text, lineterminator="\n")
        self._extra: tuple[str, ...] | None = None

    def add(self, photo: Photo) -> None:
        """Add a row.

        Raises:
            ValueError: its attributes are not those of the first row, or one has the name of a fixed column.
        """
        if self._extra is None:
            self._extra = tuple(photo.attributes)
            self._csv.writerow((*COLUMNS, *self._extra))
        if tuple(photo.attributes) != self._extra or set(self._extra) & set(COLUMNS):
            raise ValueError(f"attributes of {photo.file} must be {self._extra}, got {tuple(photo.attributes)}")
        self._csv.writerow(
            (
                *(photo.file, photo.source, photo.source_id, repr(photo.lat), repr(photo.lon), photo.taken, photo.area),
                *photo.ranks,
                *map(repr, photo.percentiles),
                photo.group,
                *photo.attributes.values(),
            )
        )

    def bytes(self) -> bytes:
        """Return the table as UTF-8."""
        return self._text.getvalue().encode("utf-8")


def read_table(text: str, name: str) -> Iterator[Photo]:
    """Yield the rows of a ``photos.csv``.

    Args:
        text: the table.
        name: what to call it in errors.

    Raises:
        InputError: a missing column, or a value that cannot be; the message names the row.
    """
    headings, rows = read_rows(text, name)
    require_columns(headings, COLUMNS, name)
    further = [heading for heading in headings if heading not in COLUMNS]
    for where, row in rows:
        yield _photo(row, further, where)


def read_rows(text: str, name: str) -> tuple[list[str], Iterator[tuple[str, dict[str, str]]]]:
    """Read a CSV table with a row of headings.

    Returns:
        The headings; and for each row where it is, for errors (the headings are row 1), and its cells by heading.

    Raises:
        InputError: not CSV, or (while the rows are read) a row that has not as many cells as there are headings.
    """
    reader = csv.reader(io.StringIO(text, newline=""))
    try:
        headings = [heading.strip() for heading in next(reader, [])]
    except csv.Error as error:
        raise InputError(f"{name} is not a readable CSV table: {error}") from error
    return headings, _rows(reader, headings, name)


def _rows(reader: Any, headings: list[str], name: str) -> Iterator[tuple[str, dict[str, str]]]:
    try:
        for cells in reader:
            where = f"{name}, row {reader.line_num}"
            if cells and len(cells) != len(headings):
                raise InputError(
                    f"{where} must have {len(headings)} cells, as many as the headings, it has {len(cells)}"
                )
            if cells:
                yield where, dict(zip(headings, cells, strict=True))
    except csv.Error as error:
        raise InputError(f"{name} is not a readable CSV table: {error}") from error


def require_columns(headings: Sequence[str], needed: Sequence[str], name: str) -> None:
    """Refuse a table that lacks a column.

    Raises:
        InputError: the message names the column.
    """
    for column in needed:
        if column not in headings:
            raise InputError(f"{name} has no column {column!r}: it must have {', '.join(needed)}")


def _photo(row: Mapping[str, str], further: Sequence[str], where: str) -> Photo:
    health_rank, income_rank, education_rank = (whole_number(row[c], c, where) for c in RANK_COLUMNS)
    health, income, education = (number_in(row[c], 0, 1, c, where) for c in PERCENTILE_COLUMNS)
    return Photo(
        file=row["file"],
        source=row["source"],
        source_id=row["source_id"],
        lat=number_in(row["lat"], -90, 90, "lat", where),
        lon=number_in(row["lon"], -180, 180, "lon", where),
        taken=row["taken"],
        area=row["area"],
        ranks=(health_rank, income_rank, education_rank),
        percentiles=(health, income, education),
        group=row["group"],
        attributes={column: row[column] for column in further},
    )


def number_in(text: str, low: float, high: float, column: str, where: str) -> float:
    """Return ``text`` as a finite number in [low, high].

    Raises:
        InputError: it is not one; the message says where.
    """
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not low <= value <= high:
        raise InputError(f"{where}: {column} must be a number {low} … {high}, got {text!r}")
    return value


def whole_number(text: str, column: str, where: str) -> int:
    """Return ``text`` as a whole number of at least 1.

    Raises:
        InputError: it is not one; the message says where.
    """
    if not text.strip().isdecimal() or not text.isascii() or int(text) < 1:
        raise InputError(f"{where}: {column} must be a whole number of at least 1, got {text!r}")
    return int(text)
