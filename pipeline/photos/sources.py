"""Where photographs are read from: a zip file or a folder, by names that cannot lead outside it."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Protocol

from atlas.errors import InputError
from pipeline.photos.zips import MAX_MEMBER_BYTES, checked_members, open_zip, read_member


class Source(Protocol):
    """Photographs by name."""

    def absent(self, names: Iterable[str]) -> list[str]:
        """Return those of ``names`` that are not there, in order."""

    def read(self, name: str) -> bytes:
        """Return a photograph's file; InputError if it cannot be read."""


@contextmanager
def open_source(path: Path) -> Iterator[Source]:
    """Open a zip file or a folder of photographs.

    Raises:
        InputError: neither; or a zip with an unsafe member.
    """
    if path.is_dir():
        yield _Folder(path)
        return
    with open_zip(path) as archive:
        yield _Zip(path, archive)


class _Zip:
    def __init__(self, path: Path, archive: zipfile.ZipFile) -> None:
        self._path, self._archive = path, archive
        self._members = checked_members(archive, path)

    def absent(self, names: Iterable[str]) -> list[str]:
        return [name for name in names if name not in self._members]

    def read(self, name: str) -> bytes:
        return read_member(self._archive, self._path, self._members[name])


class _Folder:
    def __init__(self, path: Path) -> None:
        self._path, self._root = path, path.resolve()

    def absent(self, names: Iterable[str]) -> list[str]:
        return [name for name in names if not self._file(name).is_file()]

    def read(self, name: str) -> bytes:
        file = self._file(name)
        if file.stat().st_size > MAX_MEMBER_BYTES:
            raise InputError(f"{file} has {file.stat().st_size} bytes, at most {MAX_MEMBER_BYTES} are read")
        return file.read_bytes()

    def _file(self, name: str) -> Path:
        """Return where ``name`` lies: inside the folder, whatever links there are."""
        if PurePosixPath(name).is_absolute() or ".." in name.replace("\\", "/").split("/") or "\0" in name:
            raise InputError(f"photograph {name!r} must be named by its path inside {self._path}")
        file = (self._path / name).resolve()
        if not file.is_relative_to(self._root):
            raise InputError(
                f"photograph {name!r} is a link that leads outside {self._path}: put the file itself there"
            )
        return file
