"""Which photographs a filter keeps: the user's own list, or what `atlas dataset filter` wrote."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from atlas.errors import InputError
from pipeline.photos.imd import read_text
from pipeline.photos.listing import Listed
from pipeline.photos.table import read_rows, require_columns

NOT_LISTED = "filtered: not in the list of those to keep"
_DROPPED, _KEPT = "0", "1"


def keep_listed(listed: Sequence[Listed], path: Path) -> tuple[list[Listed], dict[str, int]]:
    """Take out the photographs that a table does not keep.

    Args:
        listed: all photographs.
        path: table with the column ``file``; where it has ``keep``, 0 drops a row, for its ``reason`` if it says one.

    Returns:
        Those kept, in their order; and how many were dropped, by reason.

    Raises:
        InputError: no such table, a file that is not listed, a keep that is neither 0 nor 1, nothing kept.
    """
    headings, rows = read_rows(read_text(path, "list of photographs to keep"), str(path))
    require_columns(headings, ("file",), str(path))
    known = {photo.file for photo in listed}
    kept: dict[str, str] = {}
    for where, row in rows:
        if row["file"] not in known:
            raise InputError(f"{where}: {row['file']!r} is not among the photographs")
        keep = row.get("keep", _KEPT).strip()
        if keep not in (_DROPPED, _KEPT):
            raise InputError(f"{where}: keep must be 1 or 0, got {row['keep']!r}")
        kept[row["file"]] = "" if keep == _KEPT else f"filtered: {row.get('reason', '').strip() or 'no reason said'}"
    left = [photo for photo in listed if kept.get(photo.file, NOT_LISTED) == ""]
    if not left:
        raise InputError(f"{path} keeps none of the {len(listed)} photographs")
    dropped = Counter(reason for photo in listed if (reason := kept.get(photo.file, NOT_LISTED)))
    return left, dict(sorted(dropped.items()))
