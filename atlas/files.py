"""Writing files so that a half-written one is never taken for a whole one, and fingerprints of what was written."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from atlas.errors import InputError, SpaceError

PARTIAL_SUFFIX = ".partial"
RECORD_SUFFIXES = ("stage.json", "stage.partial.json")


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Give a temporary path beside ``path``; rename it to ``path`` when the block ends well, remove it when not.

    The folder is made if absent. The temporary name ends in ``.partial``, so that what a killed process left
    behind can be recognised (`remove_partials`).
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=PARTIAL_SUFFIX, dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o644)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_bytes(path: Path, data: bytes) -> None:
    """Write ``data`` to ``path`` whole or not at all."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


def write_text(path: Path, text: str) -> None:
    """Write ``text`` as UTF-8 with line feeds, whole or not at all."""
    write_bytes(path, text.encode("utf-8"))


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` as indented JSON in the order given, whole or not at all; NaN is refused."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        InputError: the file is not JSON; the message names the file and the line.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not valid JSON: {error}") from error


def remove_partials(folder: Path) -> None:
    """Remove what killed writers left under ``folder``: files whose name ends in ``.partial``."""
    for leftover in folder.rglob(f"*{PARTIAL_SUFFIX}"):
        leftover.unlink(missing_ok=True)


def remove_partials_of(path: Path) -> None:
    """Remove what killed writers of one file left beside it, and nothing else in its folder: that may be anyone's."""
    if path.parent.is_dir():
        for leftover in path.parent.iterdir():
            if leftover.name.startswith(f".{path.name}.") and leftover.name.endswith(PARTIAL_SUFFIX):
                leftover.unlink(missing_ok=True)


def sha256_bytes(data: bytes) -> str:
    """Return the SHA-256 of ``data`` as lower-case hex."""
    return hashlib.sha256(data).hexdigest()


def content_files(path: Path) -> list[Path]:
    """Return ``path`` itself if it is a file, else the files below it, sorted, without the records of stages.

    Records hold clocks; everything else can be compared byte for byte.
    """
    if not path.is_dir():
        return [path]
    return sorted(p for p in path.rglob("*") if p.is_file() and not p.name.endswith(RECORD_SUFFIXES))


def sha256_path(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, or of a folder's sorted relative paths and files' digests."""
    if not path.is_dir():
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    digest = hashlib.sha256()
    for file in content_files(path):
        digest.update(f"{file.relative_to(path).as_posix()}\0{sha256_path(file)}\n".encode())
    return digest.hexdigest()


def require_space(folder: Path, needed: int, what: str) -> None:
    """Refuse to begin a long write that will not fit.

    Args:
        folder: where it will be written; its nearest existing parent is looked at.
        needed: bytes.
        what: what will be written, for the message.

    Raises:
        SpaceError: less than ``needed`` bytes are free.
    """
    existing = next(p for p in (folder, *folder.absolute().parents) if p.exists())
    free = shutil.disk_usage(existing).free
    if free < needed:
        raise SpaceError(
            f"{what} needs {needed / 1e9:.2f} GB and {folder} has {free / 1e9:.2f} GB free: "
            "make room or choose another folder with --out"
        )
