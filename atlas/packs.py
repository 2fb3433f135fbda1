"""From an archive to the files that a browser loads: sheets of JPEG cells, thumbnails, and a script per base.

Every file has its content's hash in its name and is written whole; a killed build goes on with the files that are
there. The layout is chosen in `atlas.layout` and written into the manifest, so that a reader needs no rule, only
arithmetic.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from atlas.archive import Archive, open_atlas
from atlas.codec import codecs, encode_jpeg, sheet, shrink
from atlas.errors import InputError
from atlas.faults import fault_point
from atlas.files import (
    read_json,
    remove_partials,
    require_space,
    sha256_path,
    write_bytes,
    write_json,
)
from atlas.layout import THUMB_QUALITY, KeyLayout, choose_sheets, choose_thumbs, image_bytes, key_steps
from atlas.manifest import FOLDER, HASH_DIGITS, PACKS_MANIFEST, BaseFiles, FileEntry, Manifest
from atlas.preset import PackSettings
from atlas.progress import Progress, silent

VERSION = 1
"""Raised whenever packs made from the same archive would differ."""
_JOURNAL = "packs.partial.json"


@dataclass(frozen=True)
class _Job:
    """One file to be made: where it goes, and how to make its bytes."""

    stem: str
    suffix: str
    make: Callable[[], bytes]


def build_packs(
    archive_path: Path, out: Path, settings: PackSettings, *, resume: bool = False, progress: Progress = silent
) -> Manifest:
    """Make the packs of an archive, with ``packs.json``.

    Args:
        archive_path: a finished archive.
        out: the folder of packs; its subfolder ``a`` and ``packs.json`` belong to this function.
        settings: the JPEG quality.
        resume: keep the files that an interrupted build of the same archive and settings has left.
        progress: told about files.

    Returns:
        The manifest, as written.

    Raises:
        InputError: the archive is unfinished or damaged, or ``out`` holds something else.
        SpaceError: the packs will not fit on the disk.
    """
    archive = open_atlas(archive_path)
    manifest = _describe(archive, settings)
    grid = archive.grid
    require_space(out, int(1.3 * grid.images * image_bytes(archive.info.size, settings.quality)), "packing")
    _begin(out, manifest.head(), resume)
    per_base = manifest.sheets.packs + 4
    bases: list[BaseFiles] = []
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        for base in range(grid.bases):
            present = _present(out / FOLDER / str(base))
            entries: list[FileEntry] = []
            for entry in pool.map(partial(_made, out, present), _pictures(archive, manifest, base)):
                fault_point("pack.file")
                entries.append(entry)
                progress(base * per_base + len(entries), grid.bases * per_base)
            street = _made(out, present, _street(archive, base, entries[3:]))
            bases.append(BaseFiles(entries[0], entries[1], entries[2], street, tuple(entries[3:])))
            progress((base + 1) * per_base, grid.bases * per_base)
    manifest = replace(manifest, bases=tuple(bases))
    _finish(out, manifest)
    return manifest


def _describe(archive: Archive, settings: PackSettings) -> Manifest:
    """Return the manifest without files."""
    info = archive.info
    return Manifest(
        info=info,
        archive_sha256=sha256_path(archive.path),
        encoder=f"libjpeg-turbo {codecs()['jpeg']}, packer {VERSION}",
        quality=settings.quality,
        thumb_quality=THUMB_QUALITY,
        sheets=choose_sheets(info.grid, info.size, settings.quality),
        thumbs=choose_thumbs(info.grid, info.size),
        key=KeyLayout(info.size),
        bases=(),
    )


def _begin(out: Path, token: dict[str, Any], resume: bool) -> None:
    """Clear what earlier builds left, unless it was this very build; note what is being built.

    The old files are moved aside in one step, so that a process killed here never leaves some of them to be taken
    for new ones.
    """
    folder = out / FOLDER
    if resume and token in (_noted(out / _JOURNAL), _noted(out / PACKS_MANIFEST)):
        remove_partials(folder)
    else:
        known = (out / PACKS_MANIFEST).exists() or (out / _JOURNAL).exists()
        if folder.exists() and not known and any(folder.iterdir()):
            raise InputError(f"{folder} holds files that `atlas pack` did not make: choose another folder with --out")
        (out / PACKS_MANIFEST).unlink(missing_ok=True)
        replaced = out / f".{FOLDER}.old"
        shutil.rmtree(replaced, ignore_errors=True)
        if folder.exists():
            folder.rename(replaced)
            shutil.rmtree(replaced)
    folder.mkdir(parents=True, exist_ok=True)
    write_json(out / _JOURNAL, token)


def _noted(path: Path) -> dict[str, Any] | None:
    """Return the head of a journal or manifest, or None."""
    if not path.exists():
        return None
    value = read_json(path)
    return {k: v for k, v in value.items() if k != "bases"}


def _finish(out: Path, manifest: Manifest) -> None:
    wanted = {entry.file for entry in manifest.files()}
    for file in (out / FOLDER).rglob("*"):
        if file.is_file() and file.relative_to(out).as_posix() not in wanted:
            file.unlink()
    write_json(out / PACKS_MANIFEST, manifest.to_json())
    (out / _JOURNAL).unlink(missing_ok=True)


def _pictures(archive: Archive, manifest: Manifest, base: int) -> Iterator[_Job]:
    folder = f"{FOLDER}/{base}"
    yield _Job(f"{folder}/original", "jpg", lambda: encode_jpeg(archive.image(base=base), manifest.quality))
    yield _Job(f"{folder}/key", "jpg", lambda: _key(archive, manifest, base))
    yield _Job(f"{folder}/thumbs", "jpg", lambda: _thumbs(archive, manifest, base))
    for pack in range(manifest.sheets.packs):
        yield _Job(f"{folder}/sheet-{pack}", "jpg", partial(_sheet, archive, manifest, base, pack))


def _key(archive: Archive, manifest: Manifest, base: int) -> bytes:
    nodes = key_steps(archive.grid.steps)
    cells = np.stack([archive.image(base=base, health=h, income=i, education=e) for h, i, e in nodes])
    key = manifest.key
    return encode_jpeg(sheet(cells, key.columns, key.pitch, key.inset), manifest.quality)


def _thumbs(archive: Archive, manifest: Manifest, base: int) -> bytes:
    thumbs = manifest.thumbs
    indices = thumbs.indices()
    cells = [
        shrink(np.stack([archive.node(base, (h, i, e)) for e in indices]), thumbs.size)
        for h in indices
        for i in indices
    ]
    return encode_jpeg(sheet(np.concatenate(cells), thumbs.columns, thumbs.pitch, 0), manifest.thumb_quality)


def _sheet(archive: Archive, manifest: Manifest, base: int, pack: int) -> bytes:
    block = archive.block(base, *manifest.sheets.spans(pack))
    cells = block.reshape(-1, *block.shape[3:])
    return encode_jpeg(sheet(cells, manifest.sheets.columns, manifest.sheets.pitch, 0), manifest.quality)


def _street(archive: Archive, base: int, sheets: list[FileEntry]) -> _Job:
    """Return the job of a base's script: the hashes in its sheets' names, and every node's typicality as a byte."""
    shares = np.floor(archive.typicality[base].astype(np.float64) * 255 + 0.5).astype(np.uint8)
    value = {
        "sheets": [entry.sha256[:HASH_DIGITS] for entry in sheets],
        "typicality": base64.b64encode(shares.tobytes()).decode("ascii"),
    }
    script = f'ATLAS.put("street {base}", {json.dumps(value, separators=(",", ":"))});\n'
    return _Job(f"{FOLDER}/{base}/street", "js", lambda: script.encode())


def _present(folder: Path) -> dict[str, list[Path]]:
    """Return the files of a base that are there, by the part of their name before the hash."""
    present: dict[str, list[Path]] = {}
    for file in sorted(folder.glob("*")):
        present.setdefault(file.name.partition(".")[0], []).append(file)
    return present


def _made(out: Path, present: dict[str, list[Path]], job: _Job) -> FileEntry:
    """Return the entry of a job's file, which is made unless it is there and its hash is right."""
    for file in present.get(job.stem.rpartition("/")[2], []):
        entry = FileEntry.of(job.stem, file.read_bytes(), job.suffix)
        if out / entry.file == file:
            return entry
    data = job.make()
    entry = FileEntry.of(job.stem, data, job.suffix)
    write_bytes(out / entry.file, data)
    return entry
