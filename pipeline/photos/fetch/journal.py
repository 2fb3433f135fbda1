"""What a fetch has done so far, a line at a time, so that a killed one loses at most the request in the air."""

from __future__ import annotations

import dataclasses
import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from atlas.errors import InputError
from pipeline.photos.fetch.provider import Found

NAME = "journal.jsonl"


class Journal:
    """The journal of one folder, held by one process at a time.

    Attributes:
        looks: for each point that was looked at, by its number, the photographs chosen there.
        have: ids of the photographs whose files are there.
        gone: ids of those that no longer exist at their source.
    """

    def __init__(self, stream: BinaryIO, path: Path) -> None:
        self.looks: dict[int, list[Found]] = {}
        self.have: set[str] = set()
        self.gone: set[str] = set()
        self._stream = stream
        stream.seek(0)
        whole = 0
        for number, line in enumerate(stream.read().splitlines(keepends=True), start=1):
            if not line.endswith(b"\n"):
                break  # the process was killed while it wrote this
            self._take(line, f"{path}, line {number}")
            whole += len(line)
        stream.truncate(whole)
        stream.seek(whole)

    def looked(self, point: int, found: list[Found]) -> None:
        """Note what was chosen at a point."""
        self._add({"point": point, "found": [dataclasses.asdict(photo) for photo in found]})
        self.looks[point] = found

    def got(self, photo: str) -> None:
        """Note that a photograph's file is there."""
        self._add({"photograph": photo})
        self.have.add(photo)

    def is_gone(self, photo: str) -> None:
        """Note that a photograph cannot be had any more."""
        self._add({"gone": photo})
        self.gone.add(photo)

    def claimed(self) -> set[str]:
        """Return the ids of all photographs that were chosen anywhere."""
        return {photo.id for found in self.looks.values() for photo in found}

    def _add(self, entry: dict[str, Any]) -> None:
        self._stream.write(json.dumps(entry, ensure_ascii=True).encode() + b"\n")
        self._stream.flush()
        os.fsync(self._stream.fileno())

    def _take(self, line: bytes, where: str) -> None:
        try:
            entry = json.loads(line)
            if "point" in entry:
                self.looks[int(entry["point"])] = [Found.from_json(photo) for photo in entry["found"]]
            elif "photograph" in entry:
                self.have.add(str(entry["photograph"]))
            else:
                self.gone.add(str(entry["gone"]))
        except (ValueError, TypeError, KeyError) as error:
            raise InputError(f"{where}: this journal is damaged: fetch into another folder") from error


@contextmanager
def open_journal(folder: Path) -> Iterator[Journal]:
    """Open the journal in ``folder``, and make it if there is none; a last line that was cut short is taken off.

    Raises:
        InputError: another process fetches into this folder, or the journal is damaged.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / NAME
    with path.open("a+b") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise InputError(f"another process is fetching into {folder}: wait for it, or give another --out") from None
        yield Journal(stream, path)
