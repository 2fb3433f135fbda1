"""Labels given by hand: which photographs are usable. And the page on which a person gives them."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from collections.abc import Iterable, Sequence
from importlib.resources import files
from pathlib import Path

from atlas.errors import InputError
from atlas.files import write_bytes, write_text
from pipeline.photos.imd import read_text
from pipeline.photos.table import read_rows, require_columns

COLUMNS = ("file", "usable")
PAGE, THUMBNAILS = "index.html", "thumbnails"


def read_labels(paths: Iterable[Path], known: Iterable[str]) -> dict[str, bool]:
    """Read tables with the columns file and usable (1 or 0); a later table overrules an earlier one.

    Raises:
        InputError: no such table, a column missing, a value that is neither 1 nor 0, a file that is not among those
            known; the message names the row.
    """
    names = set(known)
    labels: dict[str, bool] = {}
    for path in paths:
        headings, rows = read_rows(read_text(path, "table of labels"), str(path))
        require_columns(headings, COLUMNS, str(path))
        for where, row in rows:
            if row["file"] not in names:
                raise InputError(f"{where}: {row['file']!r} is not among the photographs")
            if row["usable"].strip() not in ("0", "1"):
                raise InputError(f"{where}: usable must be 1 or 0, got {row['usable']!r}")
            labels[row["file"]] = row["usable"].strip() == "1"
    return labels


def write_page(folder: Path, photographs: Iterable[tuple[str, bytes]], title: str) -> int:
    """Write a page that works from disk: one photograph at a time, two keys, undo, and a table to save.

    Args:
        folder: gets ``index.html`` and ``thumbnails/``.
        photographs: names, and each as a JPEG for the page.
        title: of the page.

    Returns:
        How many photographs there are.
    """
    listed = []
    for index, (name, jpeg) in enumerate(photographs):
        thumbnail = f"{THUMBNAILS}/{index:05d}.jpg"
        write_bytes(folder / thumbnail, jpeg)
        listed.append([name, thumbnail])
    write_text(folder / PAGE, _page(listed, title))
    return len(listed)


def _page(listed: Sequence[Sequence[str]], title: str) -> str:
    """Fill the page's places. Names are untrusted: escaped, and never able to end the script they are in."""
    template = files("pipeline.photos.filter").joinpath("labelling.html").read_text(encoding="utf-8")
    script = re.search(r"<script>(.*?)</script>", template, re.DOTALL)
    if script is None:
        raise ValueError("labelling.html must hold one script")
    digest = base64.b64encode(hashlib.sha256(script[1].encode("utf-8")).digest()).decode()
    data = json.dumps(listed, ensure_ascii=True).replace("<", "\\u003c").replace("&", "\\u0026")
    places = {"SCRIPT_HASH": digest, "TITLE": html.escape(title), "PHOTOGRAPHS": data}
    return re.sub(r"\{\{(\w+)\}\}", lambda match: places[match[1]], template)
