"""The manifest of packs: what an atlas is, how its pictures are packed, and the SHA-256 of every file. See SPEC.md.

``packs.json`` beside the packs and ``manifest.json`` on a site hold the same manifest; the site adds its own files.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from atlas.errors import InputError
from atlas.files import read_json, sha256_bytes
from atlas.info import FORMAT_VERSION, ArchiveInfo, check_format
from atlas.layout import KEYS, KeyLayout, SheetLayout, ThumbLayout

FORMAT = "inequality-atlas packs"
PACKS_MANIFEST = "packs.json"
FOLDER = "a"
"""The folder that holds every content-hashed file, of packs and of a site; the builder owns it entirely."""
HASH_DIGITS = 12
_FILE = re.compile(r"a/\d+/(original|key|thumbs|street|sheet-\d+)\.[0-9a-f]{12}\.(jpg|js)")


@dataclass(frozen=True)
class FileEntry:
    """A file: its path relative to the folder of the manifest, its length in bytes and its SHA-256."""

    file: str
    length: int
    sha256: str

    @classmethod
    def of(cls, stem: str, data: bytes, suffix: str) -> FileEntry:
        """Describe ``data`` under a content-hashed name: STEM.HASH.SUFFIX."""
        digest = sha256_bytes(data)
        return cls(f"{stem}.{digest[:HASH_DIGITS]}.{suffix}", len(data), digest)

    def to_json(self) -> dict[str, Any]:
        """Return the entry as JSON-able values."""
        return {"file": self.file, "bytes": self.length, "sha256": self.sha256}


@dataclass(frozen=True)
class BaseFiles:
    """The files of one base.

    Attributes:
        original: the base itself as one JPEG.
        key: the sheet of seven for the table of one image under three dimensions.
        thumbs: the sheet of thumbnails.
        street: the classic script that names the sheets and carries the typicality of every node.
        sheets: one per pack, in the order of packs.
    """

    original: FileEntry
    key: FileEntry
    thumbs: FileEntry
    street: FileEntry
    sheets: tuple[FileEntry, ...]

    def all(self) -> Iterator[FileEntry]:
        """Yield every file."""
        yield from (self.original, self.key, self.thumbs, self.street, *self.sheets)


@dataclass(frozen=True)
class Manifest:
    """Everything about a set of packs.

    Attributes:
        info: what the atlas says about itself.
        archive_sha256: of the archive that the packs were made from (as `atlas.files.sha256_path` counts it).
        encoder: what encoded the pictures, since another version of it may write other bytes.
        quality: JPEG quality of originals, key sheets and sheets.
        thumb_quality: JPEG quality of thumbnails.
        sheets: how nodes are cut into packs.
        thumbs: which nodes have a thumbnail.
        key: the sheet of seven.
        bases: the files of each base.
    """

    info: ArchiveInfo
    archive_sha256: str
    encoder: str
    quality: int
    thumb_quality: int
    sheets: SheetLayout
    thumbs: ThumbLayout
    key: KeyLayout
    bases: tuple[BaseFiles, ...]

    def files(self) -> Iterator[FileEntry]:
        """Yield every file of every base."""
        for base in self.bases:
            yield from base.all()

    def head(self) -> dict[str, Any]:
        """Return everything but the files, JSON-able: what decides them."""
        return {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "atlas": self.info.attributes(),
            "archive_sha256": self.archive_sha256,
            "encoder": self.encoder,
            "quality": self.quality,
            "thumb_quality": self.thumb_quality,
            "layout": layout_json(self.sheets, self.thumbs, self.key),
        }

    def to_json(self) -> dict[str, Any]:
        """Return the manifest as JSON-able values."""
        bases = [
            {
                "name": name,
                "original": base.original.to_json(),
                "key": base.key.to_json(),
                "thumbs": base.thumbs.to_json(),
                "street": base.street.to_json(),
                "sheets": [entry.to_json() for entry in base.sheets],
            }
            for name, base in zip(self.info.base_names, self.bases, strict=True)
        ]
        return {**self.head(), "bases": bases}


def layout_json(sheets: SheetLayout, thumbs: ThumbLayout, key: KeyLayout) -> dict[str, Any]:
    """Return the three layouts as the browser reads them."""
    return {
        "sheets": {"block": list(sheets.block), "columns": sheets.columns, "pitch": sheets.pitch},
        "thumbs": {
            "stride": thumbs.stride,
            "size": thumbs.size,
            "columns": thumbs.columns,
            "pitch": thumbs.pitch,
        },
        "key": {"cells": list(KEYS), "columns": key.columns, "pitch": key.pitch, "inset": key.inset},
    }


def read_manifest(path: Path) -> Manifest:
    """Read ``packs.json``, or the part of a site's ``manifest.json`` that says the same.

    Raises:
        InputError: absent, not JSON, another format, or inconsistent with itself; the message names the file.
    """
    if not path.is_file():
        raise InputError(f"{path} is not there: it is written by `atlas pack`")
    return parse_manifest(read_json(path), str(path))


def parse_manifest(value: Any, where: str) -> Manifest:
    """Read a manifest from JSON-able values; ``where`` names the file in errors.

    Raises:
        InputError: as `read_manifest`.
    """
    if not isinstance(value, Mapping):
        raise InputError(f"{where} must be a JSON object, got {type(value).__name__}")
    check_format(value, where, FORMAT)
    try:
        info = ArchiveInfo.from_attributes(value["atlas"], where)
        layout = value["layout"]
        health, income, education = (int(length) for length in layout["sheets"]["block"])
        manifest = Manifest(
            info=info,
            archive_sha256=str(value["archive_sha256"]),
            encoder=str(value["encoder"]),
            quality=int(value["quality"]),
            thumb_quality=int(value["thumb_quality"]),
            sheets=SheetLayout(
                info.grid.side, info.size, (health, income, education), int(layout["sheets"]["columns"])
            ),
            thumbs=ThumbLayout(info.grid.steps, int(layout["thumbs"]["stride"]), int(layout["thumbs"]["size"])),
            key=KeyLayout(info.size, int(layout["key"]["inset"])),
            bases=tuple(_base(base) for base in value["bases"]),
        )
    except KeyError as error:
        raise InputError(f"{where}: the key {error.args[0]} is missing") from error
    except (TypeError, ValueError, AttributeError) as error:
        raise InputError(f"{where} is not a manifest of packs: {error}") from error
    _check(manifest, where)
    return manifest


def _base(value: Mapping[str, Any]) -> BaseFiles:
    single = [_entry(value[name]) for name in ("original", "key", "thumbs", "street")]
    return BaseFiles(single[0], single[1], single[2], single[3], tuple(_entry(sheet) for sheet in value["sheets"]))


def _entry(value: Mapping[str, Any]) -> FileEntry:
    entry = FileEntry(str(value["file"]), int(value["bytes"]), str(value["sha256"]))
    # A manifest is data from elsewhere: its paths stay in their folder.
    if not _FILE.fullmatch(entry.file):
        raise ValueError(f"{entry.file!r} is not the name of a pack's file")
    if entry.file.split(".")[1] != entry.sha256[:HASH_DIGITS]:
        raise ValueError(f"{entry.file} does not carry its own SHA-256, {entry.sha256[:HASH_DIGITS]}…")
    return entry


def _check(manifest: Manifest, where: str) -> None:
    if min(manifest.sheets.block) < 1 or manifest.sheets.columns < 1 or manifest.thumbs.stride < 1:
        raise InputError(f"{where}: block, columns and stride must be positive")
    if len(manifest.bases) != manifest.info.grid.bases:
        raise InputError(f"{where}: there must be files of {manifest.info.grid.bases} bases, got {len(manifest.bases)}")
    for number, base in enumerate(manifest.bases):
        if len(base.sheets) != manifest.sheets.packs:
            raise InputError(f"{where}: base {number} must have {manifest.sheets.packs} sheets, got {len(base.sheets)}")


def check_packs(folder: Path, manifest: Manifest) -> Iterator[str]:
    """Yield one line for every file of a manifest that is missing or is not what it was."""
    for entry in manifest.files():
        path = folder / entry.file
        if not path.is_file():
            yield f"{entry.file} is missing"
        elif sha256_bytes(path.read_bytes()) != entry.sha256:
            yield f"{entry.file} is damaged: its SHA-256 is not the manifest's"
