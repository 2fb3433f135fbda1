"""The statistics of a training, ``stats.jsonl``: a line of JSON per tick, as long as the state says."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from atlas.files import write_bytes
from atlas.stage import Log


def add_line(path: Path, line: Mapping[str, object]) -> int:
    """Add a line; return the file's length in bytes."""
    with path.open("ab") as stream:
        stream.write((json.dumps(line, allow_nan=False) + "\n").encode())
        return stream.tell()


def cut_lines(path: Path, length: int, log: Log) -> None:
    """Bring the file back to whole lines within ``length`` bytes, which is where a run goes on; make it if absent.

    Args:
        path: of the file.
        length: what the state says.
        log: told if the file is shorter.
    """
    there = path.read_bytes() if path.exists() else b""
    kept = there[:length]
    kept = kept[: kept.rfind(b"\n") + 1]
    if len(kept) < length:
        log(f"{path} is shorter than it was at the checkpoint; what is missing is lost")
    if kept != there or not path.exists():
        write_bytes(path, kept)
