"""The government's "File 7": the ranks of every statistical area of England, for each domain of deprivation."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from atlas.errors import InputError
from atlas.grid import AXES
from pipeline.photos.table import read_rows, whole_number

RANK_HEADINGS = {
    "health": "Health Deprivation and Disability Rank",
    "income": "Income Rank",
    "education": "Education, Skills and Training Rank",
}
OVERALL_HEADING = "Index of Multiple Deprivation (IMD) Rank"
_CODE_HEADING = re.compile(r"LSOA code \((\d{4})\)")
_CODE = re.compile(r"[EW]01\d{6}")


@dataclass(frozen=True, eq=False)
class RankTable:
    """Ranks of areas, 1 the most deprived.

    Attributes:
        name: the file's name, for messages.
        year: of the areas' boundaries, from the heading of their codes; None where it does not say.
        codes: [M], sorted.
        ranks: [M, 3] int64, (health, income, education).
        overall: [M] int64, the rank of the whole index; None where the table does not give it.
    """

    name: str
    year: int | None
    codes: tuple[str, ...]
    ranks: np.ndarray
    overall: np.ndarray | None


def read_imd(path: Path) -> RankTable:
    """Read a table with the columns of File 7, in any order and among any others.

    Raises:
        InputError: no such file, not UTF-8, a column missing, a code malformed or there twice, a rank that is not a
            whole number of at least 1; the message names the row.
    """
    headings, table = read_rows(read_text(path, "table of ranks"), str(path))
    code_heading, year = _code_column(headings, path)
    columns = {axis: _column(headings, RANK_HEADINGS[axis], path) for axis in AXES}
    overall = next((h for h in headings if h.startswith(OVERALL_HEADING)), None)
    wanted = [*columns.values(), *([overall] if overall else [])]
    rows: dict[str, list[int]] = {}
    for where, row in table:
        code = _code(row[code_heading], code_heading, where)
        if code in rows:
            raise InputError(f"{where}: area {code} is there twice: keep one row for each area")
        rows[code] = [whole_number(row[column], column, where) for column in wanted]
    if not rows:
        raise InputError(f"{path} has no rows: it must have one for each area")
    codes = tuple(sorted(rows))
    values = np.array([rows[code] for code in codes], np.int64)
    return RankTable(path.name, year, codes, values[:, :3], values[:, 3] if overall else None)


def read_text(path: Path, what: str) -> str:
    """Return a text file's content, a byte order mark taken off.

    Raises:
        InputError: it is not there or not UTF-8.
    """
    if not path.is_file():
        raise InputError(f"the {what} is not there: {path}")
    try:
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 ({error}): save it again as CSV UTF-8") from error


def _code_column(headings: list[str], path: Path) -> tuple[str, int]:
    for heading in headings:
        match = _CODE_HEADING.fullmatch(heading)
        if match:
            return heading, int(match[1])
    raise InputError(f'{path} has no column "LSOA code (YYYY)": give the File 7 of the Indices of Multiple Deprivation')


def _column(headings: list[str], prefix: str, path: Path) -> str:
    for heading in headings:
        if heading.startswith(prefix):
            return heading
    raise InputError(f'{path} has no column that begins with "{prefix}": give the File 7 with all domains')


def _code(cell: str, heading: str, where: str) -> str:
    code = cell.strip()
    if not _CODE.fullmatch(code):
        raise InputError(f"{where}: {heading} must look like E01000001, got {code!r}")
    return code
