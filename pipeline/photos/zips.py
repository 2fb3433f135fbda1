"""Zip files from elsewhere, read so that nothing in them can lead outside or fill the memory."""

from __future__ import annotations

import stat
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from atlas.errors import InputError

MAX_MEMBER_BYTES = 256 * 2**20
_READ_ERRORS = (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, ValueError)
_ENCRYPTED = 0x1


@contextmanager
def open_zip(path: Path) -> Iterator[zipfile.ZipFile]:
    """Open a zip file for reading.

    Raises:
        InputError: there is no such file, or it is not a zip file.
    """
    if not path.is_file():
        raise InputError(f"{path} is not there: give the path of a zip file")
    try:
        archive = zipfile.ZipFile(path)
    except _READ_ERRORS as error:
        raise InputError(f"{path} is not a readable zip file: {error}") from error
    with archive:
        yield archive


def checked_members(archive: zipfile.ZipFile, path: Path) -> dict[str, zipfile.ZipInfo]:
    """Return the files (not the folders) in ``archive`` by name, after looking at every name.

    Raises:
        InputError: a name that is absolute or leads outside with "..", a symbolic link, a name that occurs twice,
            an encrypted member.
    """
    members: dict[str, zipfile.ZipInfo] = {}
    for info in archive.infolist():
        fault = _fault(info)
        if info.filename in members:
            fault = "is there twice"
        if fault:
            raise InputError(f"{path}: member {info.filename!r} {fault}: make the zip again from plain files")
        if not info.is_dir():
            members[info.filename] = info
    return members


def _fault(info: zipfile.ZipInfo) -> str:
    name = info.orig_filename
    parts = name.replace("\\", "/").split("/")
    if name.startswith(("/", "\\")) or (len(name) > 1 and name[1] == ":"):
        return "has an absolute path"
    if ".." in parts:
        return "leads outside its folder"
    if "\0" in name or "\\" in name:
        return "has a name that is not portable"
    if stat.S_ISLNK(info.external_attr >> 16):
        return "is a symbolic link"
    if info.flag_bits & _ENCRYPTED:
        return "is encrypted"
    return ""


def read_member(archive: zipfile.ZipFile, path: Path, info: zipfile.ZipInfo, limit: int = MAX_MEMBER_BYTES) -> bytes:
    """Return the bytes of one member; never more than its directory entry says, and that never more than ``limit``.

    Raises:
        InputError: the member is too large, damaged or compressed in an unknown way.
    """
    if info.file_size > limit:
        raise InputError(f"{path}: member {info.filename!r} has {info.file_size} bytes, at most {limit} are read")
    try:
        return archive.read(info)
    except _READ_ERRORS as error:
        raise InputError(f"{path}: member {info.filename!r} is damaged: {error}") from error
    except Exception as error:
        if type(error).__module__ in ("zlib", "lzma"):
            raise InputError(f"{path}: member {info.filename!r} is damaged: {error}") from error
        raise
