"""From packs to the static site: pages, manifest, and the packs in their place. The only file that knows Jinja.

Everything that is not a page has its content's hash in its name and lives in the folder ``a``, which belongs to this
module: new files are put there first, then the pages that name them, then what is no longer named is removed. Files
that would not change are not touched. See SPEC.md, section 4.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2

from atlas.errors import InputError
from atlas.faults import fault_point
from atlas.files import (
    PARTIAL_SUFFIX,
    atomic_path,
    read_json,
    remove_partials,
    require_space,
    sha256_bytes,
    write_bytes,
)
from atlas.grid import AXES
from atlas.hosts import CONTENT_SECURITY_POLICY, headers_file
from atlas.info import FORMAT_VERSION, ArchiveInfo
from atlas.layout import KEYS, Node, key_steps
from atlas.licence import local_only
from atlas.manifest import FOLDER, PACKS_MANIFEST, FileEntry, Manifest, read_manifest
from atlas.preset import SiteSettings
from atlas.progress import Progress, silent
from atlas.report import Evidence, read_report
from atlas.resources import resource_folder
from atlas.words import step_words, view_hash

FORMAT = "inequality-atlas site"
VERSION = 2
"""Raised whenever the site made from the same packs would differ other than by its templates."""
MANIFEST = "manifest.json"
MANIFEST_SCRIPT = "manifest.js"
SCRIPT_PREFIX = "var ATLAS_MANIFEST = "
SHA_LIST = "manifest-sha256.txt"
_PAGE_FILES = {
    "style": ("atlas", "css"),
    "grid": ("grid", "js"),
    "pictures": ("pictures", "js"),
    "page": ("page", "js"),
}


@dataclass(frozen=True)
class _File:
    """A file of the site: where, what, and the pack it can be linked to instead of copied."""

    path: str
    data: bytes
    source: Path | None = None


def build_site(
    packs: Path, out: Path, *, report: Path | None, settings: SiteSettings, progress: Progress = silent
) -> Path:
    """Build the site, or bring it up to date.

    Args:
        packs: the folder that `atlas pack` made.
        out: the site's folder. What it holds besides the site's own files is left alone, except in ``a``.
        report: ``report.json`` of the boundaries, or None to leave the numbers out.
        settings: address and authors.
        progress: told about files.

    Returns:
        The path of ``index.html``.

    Raises:
        InputError: packs are missing or damaged, the report cannot be read, or ``out`` is not a folder for a site.
        SpaceError: the site will not fit on the disk.
    """
    manifest = read_manifest(packs / PACKS_MANIFEST)
    evidence = read_report(report, manifest.info.method, manifest.info.grid.steps) if report else None
    _require_own(out)
    require_space(out, sum(entry.length for entry in manifest.files()) + (1 << 20), "the site")
    out.mkdir(parents=True, exist_ok=True)
    remove_partials(out / FOLDER)
    for leftover in out.glob(f".*{PARTIAL_SUFFIX}"):
        leftover.unlink()
    page_files = _page_files(manifest)
    if report:
        page_files["report"] = _numbers(report)
    documents = _documents(manifest, page_files, evidence, settings)
    total = sum(1 for _ in manifest.files()) + len(page_files) + len(documents) + 1
    hashes: dict[str, str] = {}
    for file in (*_pack_files(packs, manifest), *page_files.values(), *documents):
        _put(out, file)
        hashes[file.path] = sha256_bytes(file.data)
        progress(len(hashes), total)
    listing = "".join(f"{hashes[path]}  {path}\n" for path in sorted(hashes))
    _put(out, _File(SHA_LIST, listing.encode()))
    _remove_stale(out, set(hashes))
    progress(total, total)
    return out / "index.html"


def _require_own(out: Path) -> None:
    """Refuse to own a folder ``a`` that is somebody else's."""
    folder = out / FOLDER
    if out.exists() and not out.is_dir():
        raise InputError(f"{out} must be a folder, and a file is there: choose another with --out")
    if folder.is_symlink():
        raise InputError(f"{folder} must be a folder of its own, and it is a link: choose another folder with --out")
    if folder.exists() and any(folder.iterdir()) and not any((out / name).exists() for name in _MARKS):
        raise InputError(f"{folder} holds files that `atlas site` did not make: choose another folder with --out")


# One of these is there as soon as a build has begun: the first file that is ever put in place is _BEGUN.
_BEGUN = ".nojekyll"
_MARKS = (_BEGUN, MANIFEST, SHA_LIST)


def _pack_files(packs: Path, manifest: Manifest) -> Iterator[_File]:
    yield _File(_BEGUN, b"")
    for entry in manifest.files():
        source = packs / entry.file
        if not source.is_file():
            raise InputError(f"{source} is missing: make the packs again with `atlas pack`")
        data = source.read_bytes()
        if sha256_bytes(data) != entry.sha256:
            raise InputError(f"{source} is damaged: make the packs again with `atlas pack`")
        yield _File(entry.file, data, source)


def _page_files(manifest: Manifest) -> dict[str, _File]:
    """Return the page's own hashed files by their role: the style, the scripts, and what the page knows of streets."""
    templates = resource_folder("templates")
    files = {
        role: _hashed(stem, (templates / f"{stem}.{suffix}").read_bytes(), suffix)
        for role, (stem, suffix) in _PAGE_FILES.items()
    }
    value = json.dumps(_streets(manifest), separators=(",", ":"), ensure_ascii=True)
    files["streets"] = _hashed("streets", f'ATLAS.put("streets", {value});\n'.encode(), "js")
    return files


def _numbers(report: Path) -> _File:
    """Return the report as the site carries it: every number, without what is said of figures.

    Figures stay at home, all of them: some show photographs, which a licence may forbid to publish (``local_only``).
    """
    value = {name: section for name, section in read_json(report).items() if name != "figures"}
    text = json.dumps(value, indent=1, ensure_ascii=True, allow_nan=False)
    return _hashed("report", f"{text}\n".encode(), "json")


def _hashed(stem: str, data: bytes, suffix: str) -> _File:
    return _File(FileEntry.of(f"{FOLDER}/{stem}", data, suffix).file, data)


def _streets(manifest: Manifest) -> dict[str, Any]:
    """Return what the page needs before a street is chosen."""
    return {
        "steps": manifest.info.grid.steps,
        "size": manifest.info.size,
        "layout": manifest.head()["layout"],
        "streets": [
            {
                "name": name,
                "original": base.original.file,
                "key": base.key.file,
                "thumbs": base.thumbs.file,
                "script": base.street.file,
            }
            for name, base in zip(manifest.info.base_names, manifest.bases, strict=True)
        ],
    }


def _documents(
    manifest: Manifest, page_files: dict[str, _File], evidence: Evidence | None, settings: SiteSettings
) -> list[_File]:
    """Return the files of the root, the page last but one: what names files comes after the files."""
    value = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "packs": manifest.to_json(),
        "page": [
            {"file": file.path, "bytes": len(file.data), "sha256": sha256_bytes(file.data)}
            for file in page_files.values()
        ],
    }
    text = json.dumps(value, indent=1, ensure_ascii=True, allow_nan=False)
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(resource_folder("templates")),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    url = _address(settings.url)
    names = {role: file.path for role, file in page_files.items()}
    page = environment.get_template("index.html.j2").render(_page(manifest, names, evidence, settings, url))
    lost = environment.get_template("404.html.j2").render(title=manifest.info.title, url=url)
    return [
        _File("_headers", headers_file().encode()),
        _File(MANIFEST, f"{text}\n".encode()),
        _File(MANIFEST_SCRIPT, f"{SCRIPT_PREFIX}{text};\n".encode()),
        _File("404.html", lost.encode()),
        _File("index.html", page.encode()),
    ]


def _address(url: str) -> str:
    if not url:
        return ""
    if not url.startswith(("https://", "http://")) or any(c.isspace() or c in "\"'<>" for c in url):
        raise InputError(f"site.url must be the address of the published site, https://…, got {url!r}")
    return url if url.endswith("/") else f"{url}/"


def _page(
    manifest: Manifest, names: dict[str, str], evidence: Evidence | None, settings: SiteSettings, url: str
) -> dict[str, Any]:
    """Return everything that the template shows; the template computes nothing."""
    info = manifest.info
    steps = info.grid.steps
    streets = [
        {"name": name, "original": base.original.file, "key": base.key.file, "link": view_hash(name, (0, 0, 0))}
        for name, base in zip(info.base_names, manifest.bases, strict=True)
    ]
    width, height = manifest.key.pixels()
    return {
        "csp": CONTENT_SECURITY_POLICY,
        "title": info.title,
        "description": "Streets that do not exist, drawn by a neural network that studied pictures of streets, "
        "along three measures of deprivation: health, income and education.",
        "authors": settings.authors,
        "url": url,
        "files": names,
        "attribution": info.attribution,
        "size": info.size,
        "steps": steps,
        "span": 2 * steps,
        "as_original": step_words(0),
        "axes": [{"id": axis, "name": axis.capitalize()} for axis in AXES],
        "streets": streets,
        "first": streets[0],
        "columns": [
            {"name": "Low", "note": f"−{steps}, more deprived"},
            {"name": "Original", "note": "0"},
            {"name": "High", "note": f"+{steps}, less deprived"},
        ],
        "matrix": _matrix(manifest, streets[0]["name"]),
        "key_width": width,
        "key_height": height,
        "evidence": evidence,
        "warnings": _warnings(info, evidence),
        "local_only": local_only(info.licence) or (evidence is not None and evidence.local_only),
        "provenance": _provenance(manifest, settings),
    }


def _warnings(info: ArchiveInfo, evidence: Evidence | None) -> list[str]:
    """Return what the archive warns of, then what the report does besides, each once."""
    return list(dict.fromkeys((*info.warnings, *(evidence.warnings if evidence else ()))))


def _matrix(manifest: Manifest, street: str) -> list[dict[str, Any]]:
    """Return the table of one image under three dimensions: per axis low, original, high, as cells of the key sheet."""
    nodes = dict(zip(KEYS, key_steps(manifest.info.grid.steps), strict=True))
    return [
        {
            "name": axis.capitalize(),
            "cells": [
                _cell(manifest, street, axis, KEYS.index(key), nodes[key])
                for key in (f"{axis} low", "original", f"{axis} high")
            ],
        }
        for axis in AXES
    ]


def _cell(manifest: Manifest, street: str, axis: str, cell: int, steps: Node) -> dict[str, Any]:
    x, y = manifest.key.corner(cell)
    return {"x": x, "y": y, "link": view_hash(street, steps), "words": step_words(steps[AXES.index(axis)])}


def _provenance(manifest: Manifest, settings: SiteSettings) -> list[tuple[str, str]]:
    info = manifest.info
    rows = [
        ("Made by", settings.authors),
        (
            "The grid",
            f"{info.grid.bases} streets × {info.grid.side}³ steps = {info.grid.images:,} pictures of {info.size} px",
        ),
        ("Pictures studied: attribution", info.attribution),
        ("Pictures studied: licence", info.licence),
        ("Inversion", info.method),
        ("Seed, truncation", f"{info.seed}, {info.truncation:g}"),
        ("Generator, SHA-256", info.generator_sha256),
        ("Boundaries, SHA-256", info.boundaries_sha256),
        ("Archive, SHA-256", manifest.archive_sha256),
        ("Software", _software(manifest)),
    ]
    return [(term, details) for term, details in rows if details]


def _software(manifest: Manifest) -> str:
    software = manifest.info.attributes()["software"]
    return f"{software['name']} {software['version']}, format version {FORMAT_VERSION}; {manifest.encoder}"


def _put(out: Path, file: _File) -> None:
    """Put a file in place, whole, unless the same is there; a pack is linked where the disk can."""
    target = out / file.path
    same = target.is_file() and not target.is_symlink() and target.read_bytes() == file.data
    if not same and not (file.source and _link(file.source, target)):
        write_bytes(target, file.data)
    fault_point("site.file")


def _link(source: Path, target: Path) -> bool:
    """Put a hard link to ``source`` at ``target``; False where that cannot be, as across disks."""
    try:
        with atomic_path(target) as temporary:
            temporary.unlink()
            os.link(source, temporary)
    except OSError:
        return False
    return True


def _remove_stale(out: Path, wanted: set[str]) -> None:
    for path in sorted((out / FOLDER).rglob("*"), reverse=True):
        if path.is_dir() and not path.is_symlink():
            if not any(path.iterdir()):
                path.rmdir()
        elif path.relative_to(out).as_posix() not in wanted:
            path.unlink()
