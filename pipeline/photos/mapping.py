"""Deprivation of any country: which columns of its table say what, and which end of each is the deprived one."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from atlas.errors import InputError
from atlas.grid import AXES
from pipeline.photos.imd import RankTable, read_imd, read_text
from pipeline.photos.table import read_rows, require_columns, whole_number

KINDS, ENDS = ("rank", "score"), ("low", "high")


@dataclass(frozen=True)
class Column:
    """One axis of a table.

    Attributes:
        heading: of the column.
        kind: "rank" (whole numbers from 1) or "score" (any numbers).
        deprived: "low" or "high": which end of the numbers is the deprived one.
    """

    heading: str
    kind: str
    deprived: str


@dataclass(frozen=True)
class Columns:
    """Where a table of any country holds the codes of its areas, and the three axes.

    Attributes:
        area: heading of the codes.
        axes: (health, income, education).
    """

    area: str
    axes: tuple[Column, Column, Column]


def read_columns(area: str, health: str, income: str, education: str) -> Columns | None:
    """Read a mapping as a preset or a command gives it.

    Args:
        area: heading of the areas' codes; "" for all four means that there is no mapping.
        health: "KIND:END:HEADING", such as "score:high:Income deprivation rate" or "rank:low:Income Rank".
        income: likewise.
        education: likewise.

    Returns:
        The mapping; None where nothing was given: the table is a File 7.

    Raises:
        InputError: some were given and not others, or one is not of that form.
    """
    given = dict(zip(("area", *AXES), (area, health, income, education), strict=True))
    if not any(given.values()):
        return None
    for name, text in given.items():
        if not text:
            raise InputError(f"the column mapping says nothing of {name}: it must name area, {', '.join(AXES)}")
    return Columns(area, (_column(health, "health"), _column(income, "income"), _column(education, "education")))


def _column(text: str, axis: str) -> Column:
    kind, _, rest = text.partition(":")
    end, _, heading = rest.partition(":")
    if kind not in KINDS or end not in ENDS or not heading.strip():
        raise InputError(
            f"the column of {axis} must be given as rank:low:HEADING, score:high:HEADING or the like, "
            f"the end being the deprived one, got {text!r}"
        )
    return Column(heading.strip(), kind, end)


def read_ranks(path: Path, columns: Columns | None) -> RankTable:
    """Read the table of a country, or England's File 7 where there is no mapping.

    Scores, and ranks whose high end is the deprived one, become ranks among all areas of the table: 1 the most
    deprived; equal ones share the lower number.

    Raises:
        InputError: no such table, a column missing, a code empty or there twice, a number that is none; the message
            names the row.
    """
    if columns is None:
        return read_imd(path)
    headings, table = read_rows(read_text(path, "table of ranks"), str(path))
    require_columns(headings, [columns.area, *(column.heading for column in columns.axes)], str(path))
    rows: dict[str, list[float]] = {}
    for where, row in table:
        code = row[columns.area].strip()
        if not code:
            raise InputError(f"{where}: {columns.area} must be an area's code, it is empty")
        if code in rows:
            raise InputError(f"{where}: area {code} is there twice: keep one row for each area")
        rows[code] = [_number(row[column.heading], column, where) for column in columns.axes]
    if not rows:
        raise InputError(f"{path} has no rows: it must have one for each area")
    codes = tuple(sorted(rows))
    values = np.array([rows[code] for code in codes])
    ranks = np.stack([_ranks(values[:, i], column) for i, column in enumerate(columns.axes)], 1)
    return RankTable(path.name, None, codes, ranks, None)


def _number(cell: str, column: Column, where: str) -> float:
    if column.kind == "rank":
        return whole_number(cell, column.heading, where)
    try:
        value = float(cell)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise InputError(f"{where}: {column.heading} must be a number, got {cell!r}")
    return value


def _ranks(values: np.ndarray, column: Column) -> np.ndarray:
    """Return [M] int64, 1 the most deprived."""
    if column.kind == "rank" and column.deprived == "low":
        return values.astype(np.int64)
    depth = values if column.deprived == "low" else -values
    order = np.sort(depth)
    return np.searchsorted(order, depth, side="left").astype(np.int64) + 1


def parse_options(given: Iterable[str]) -> Columns | None:
    """Read a mapping from texts such as "area=DZ code" and "income=score:high:Income rate".

    Raises:
        InputError: a name that is not area or an axis, or a mapping that `read_columns` refuses.
    """
    texts = dict.fromkeys(("area", *AXES), "")
    for text in given:
        name, _, value = text.partition("=")
        if name not in texts:
            raise InputError(f"a column is given as NAME=…, NAME one of {', '.join(texts)}, got {text!r}")
        texts[name] = value
    return read_columns(**texts)
