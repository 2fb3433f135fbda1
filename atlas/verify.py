"""Whether an archive, packs or a site are whole: every fault as one line."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from atlas.archive import open_atlas
from atlas.codec import decode_jpeg
from atlas.errors import InputError
from atlas.files import read_json, sha256_path
from atlas.manifest import (
    FOLDER,
    HASH_DIGITS,
    PACKS_MANIFEST,
    FileEntry,
    Manifest,
    check_packs,
    parse_manifest,
    read_manifest,
)
from atlas.site import FORMAT as SITE_FORMAT
from atlas.site import MANIFEST, MANIFEST_SCRIPT, SCRIPT_PREFIX, SHA_LIST

_LINE = re.compile(r"([0-9a-f]{64})  (\S.*)")
_PUT = re.compile(r'ATLAS\.put\("street \d+", (\{.*\})\);\n')


@dataclass(frozen=True)
class Verdict:
    """What was looked at and what is wrong with it.

    Attributes:
        kind: "archive", "packs" or "site".
        faults: one line each; empty when sound.
    """

    kind: str
    faults: tuple[str, ...]


def verify(path: Path) -> Verdict:
    """Check everything that lies at ``path``: checksums, shapes, completeness, and that pictures decode.

    Raises:
        InputError: ``path`` is neither an archive nor packs nor a site.
    """
    if not path.is_dir():
        raise InputError(f"{path} must be the folder of an archive, packs or a site, and no folder is there")
    if (path / "zarr.json").exists():
        return Verdict("archive", tuple(_archive_faults(path)))
    if (path / PACKS_MANIFEST).exists():
        return Verdict("packs", tuple(_packs_faults(path)))
    if any((path / name).exists() for name in (SHA_LIST, MANIFEST, "index.html")):
        return Verdict("site", tuple(_site_faults(path)))
    raise InputError(f"{path} is neither an archive (zarr.json), nor packs ({PACKS_MANIFEST}), nor a site ({MANIFEST})")


def _archive_faults(path: Path) -> Iterator[str]:
    try:
        archive = open_atlas(path)
    except InputError as error:
        yield str(error)
        return
    yield from archive.faults()


def _packs_faults(path: Path) -> Iterator[str]:
    try:
        manifest = read_manifest(path / PACKS_MANIFEST)
    except InputError as error:
        yield str(error)
        return
    yield from check_packs(path, manifest)
    yield from _picture_faults(path, manifest)
    yield from _street_faults(path, manifest)
    yield from _strangers(path, {entry.file for entry in manifest.files()})


def _site_faults(path: Path) -> Iterator[str]:
    listed: dict[str, str] = {}
    try:
        listed = _read_list(path / SHA_LIST)
    except InputError as error:
        yield str(error)
    yield from _listed_faults(path, listed)
    yield from _strangers(path, set(listed))
    yield from _reference_faults(path)
    try:
        manifest, page = _read_site_manifest(path)
    except InputError as error:
        yield str(error)
        return
    yield from _unlisted(listed, (*manifest.files(), *page))
    yield from _picture_faults(path, manifest)
    yield from _street_faults(path, manifest)


def _read_list(path: Path) -> dict[str, str]:
    """Return path → SHA-256 of ``manifest-sha256.txt``."""
    if not path.is_file():
        raise InputError(f"{path.name} is missing")
    listed = {}
    for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
        match = _LINE.fullmatch(line)
        if not match or not _inside(match[2]):
            raise InputError(f"{path.name}: line {number} must be a SHA-256, two spaces and a relative path: {line!r}")
        listed[match[2]] = match[1]
    return listed


def _inside(path: str) -> bool:
    """Return whether a path given by a file stays in its folder."""
    return not path.startswith("/") and "\\" not in path and ".." not in path.split("/")


def _listed_faults(path: Path, listed: dict[str, str]) -> Iterator[str]:
    for name, digest in listed.items():
        if not (path / name).is_file():
            yield f"{name} is missing"
        elif sha256_path(path / name) != digest:
            yield f"{name} is damaged: its SHA-256 is not the one in {SHA_LIST}"


def _strangers(path: Path, known: set[str]) -> Iterator[str]:
    for file in sorted((path / FOLDER).rglob("*")):
        name = file.relative_to(path).as_posix()
        if not file.is_dir() and name not in known:
            yield f"{name} is not a file of this atlas, and the folder {FOLDER} must hold no others"


def _read_site_manifest(path: Path) -> tuple[Manifest, list[FileEntry]]:
    """Return the manifest of packs and the page's own files; refuse a script that does not say the same."""
    if not (path / MANIFEST).is_file():
        raise InputError(f"{MANIFEST} is missing")
    value = read_json(path / MANIFEST)
    if not isinstance(value, dict) or value.get("format") != SITE_FORMAT:
        raise InputError(f"{MANIFEST} must say format {SITE_FORMAT!r}")
    if _script_value(path / MANIFEST_SCRIPT) != value:
        raise InputError(f"{MANIFEST_SCRIPT} does not say the same as {MANIFEST}")
    try:
        page = [FileEntry(str(e["file"]), int(e["bytes"]), str(e["sha256"])) for e in value["page"]]
        return parse_manifest(value["packs"], MANIFEST), page
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{MANIFEST} is not the manifest of a site: {error!r}") from error


def _script_value(path: Path) -> Any:
    if not path.is_file():
        raise InputError(f"{path.name} is missing")
    text = path.read_text(encoding="utf-8", errors="replace")
    try:
        return json.loads(text.removeprefix(SCRIPT_PREFIX).rstrip().removesuffix(";"))
    except json.JSONDecodeError:
        return None


def _unlisted(listed: dict[str, str], entries: Iterable[FileEntry]) -> Iterator[str]:
    for entry in entries:
        if listed.get(entry.file) != entry.sha256:
            yield f"{entry.file} is in {MANIFEST} but not in {SHA_LIST} with the same SHA-256"


def _picture_faults(path: Path, manifest: Manifest) -> Iterator[str]:
    """Decode every picture that is there and compare its size; what is absent has been reported by others."""
    size = manifest.info.size
    expected: list[tuple[str, tuple[int, int]]] = []
    for base in manifest.bases:
        expected += [
            (base.original.file, (size, size)),
            (base.key.file, manifest.key.pixels()),
            (base.thumbs.file, manifest.thumbs.pixels()),
        ]
        expected += [(entry.file, manifest.sheets.pixels(pack)) for pack, entry in enumerate(base.sheets)]
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        faults = pool.map(lambda item: _picture_fault(path, *item), expected)
        yield from (fault for fault in faults if fault)


def _picture_fault(path: Path, name: str, pixels: tuple[int, int]) -> str | None:
    if not (path / name).is_file():
        return None
    try:
        height, width = decode_jpeg((path / name).read_bytes(), name).shape[:2]
    except InputError as error:
        return str(error)
    if (width, height) != pixels:
        return f"{name} must be {pixels[0]} × {pixels[1]} pixels, it is {width} × {height}"
    return None


def _street_faults(path: Path, manifest: Manifest) -> Iterator[str]:
    """Compare what each street's script tells the page with the manifest."""
    for base in manifest.bases:
        script = path / base.street.file
        if not script.is_file():
            continue
        match = _PUT.fullmatch(script.read_text(encoding="utf-8", errors="replace"))
        try:
            value = json.loads(match[1]) if match else {}
        except json.JSONDecodeError:
            value = {}
        if value.get("sheets") != [entry.sha256[:HASH_DIGITS] for entry in base.sheets]:
            yield f"{base.street.file} does not name the sheets of the manifest"


class _References(HTMLParser):
    """Collects what a page's elements refer to."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [value for name, value in attrs if name in ("src", "href") and value]


def _reference_faults(path: Path) -> Iterator[str]:
    page = path / "index.html"
    if not page.is_file():
        yield "index.html is missing"
        return
    references = _References()
    references.feed(page.read_text(encoding="utf-8", errors="replace"))
    for reference in sorted(set(references.found)):
        parts = urlsplit(reference)
        target = unquote(parts.path)
        if parts.scheme or parts.netloc or not target:
            continue
        if not _inside(target) or not (path / target).exists():
            yield f"index.html refers to {target}, which is not there"
