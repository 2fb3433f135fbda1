"""``dataset.zip``: square photographs with the percentiles of their areas, in the layout of StyleGAN2-ADA.

A stored zip of PNG files and three tables: ``dataset.json`` holds ``labels`` = [[file, [health, income, education]], …]
(percentiles, 0 the most deprived), ``photos.csv`` a row per photograph (`pipeline.photos.table.Photo`), and
``dataset-meta.json`` the licence, the attribution, and what was done to the pictures. The official
``training/dataset.py`` reads it as it is. Same photographs, same bytes: dates and attributes in the zip are fixed.
"""

from __future__ import annotations

import dataclasses
import io
import json
import math
import struct
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from atlas.errors import InputError
from atlas.faults import fault_point
from atlas.files import atomic_path
from pipeline.photos.table import Photo, TableWriter, read_table
from pipeline.photos.zips import checked_members, open_zip, read_member

__all__ = ["Dataset", "Photo", "check_size", "encode_png", "open_dataset", "write_dataset", "write_encoded"]

LABELS, TABLE, META = "dataset.json", "photos.csv", "dataset-meta.json"
FORMAT = 1
MAX_SIDE = 4096
_PNG_HEADER = struct.Struct(">8s4x4sIIBB")  # signature, chunk length, "IHDR", width, height, bit depth, colour type
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PNG_LEVEL = 4  # twice as fast as the usual 6, and a twentieth larger
_TRUECOLOUR_8 = (8, 2)


@dataclass(frozen=True, eq=False)
class Dataset:
    """A dataset that was opened and found sound.

    Attributes:
        path: the zip.
        size: side of every photograph in pixels.
        photos: the rows of ``photos.csv``, in dataset order.
        files: the photographs' members, in dataset order (sorted by name).
        labels: [N, 3] float32, percentiles (health, income, education), 0 the most deprived … 1 the least.
        meta: ``dataset-meta.json``.
    """

    path: Path
    size: int
    photos: tuple[Photo, ...]
    files: tuple[str, ...]
    labels: np.ndarray
    meta: dict[str, Any]

    def __len__(self) -> int:
        return len(self.files)

    def images(self, indices: Sequence[int] | np.ndarray | None = None) -> np.ndarray:
        """Return photographs as [n, size, size, 3] uint8, all of them or those at ``indices``, in that order.

        Raises:
            InputError: a photograph is damaged.
            IndexError: there is no such photograph.
        """
        files = self.files if indices is None else [self.files[int(i)] for i in indices]
        images = np.empty((len(files), self.size, self.size, 3), np.uint8)
        with open_zip(self.path) as archive:
            for image, file in zip(images, files, strict=True):
                image[...] = _decode(read_member(archive, self.path, archive.getinfo(file)), file, self)
        return images


def check_size(size: int) -> None:
    """Refuse a size that the generator cannot have.

    Raises:
        InputError: ``size`` is not a power of two, 4 … 1024.
    """
    if size not in {2**k for k in range(2, 11)}:
        raise InputError(f"size must be a power of two, 4 … 1024, got {size}")


def member_name(index: int) -> str:
    """Return the member that photograph number ``index`` gets: as StyleGAN2-ADA's own tool names them."""
    return f"{index // 1000:05d}/img{index:08d}.png"


def encode_png(image: np.ndarray) -> bytes:
    """Return a [size, size, 3] uint8 image as PNG."""
    if image.ndim != 3 or image.shape[0] != image.shape[1] or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ValueError(f"an image must be [size, size, 3] uint8, got {image.dtype} {image.shape}")
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "PNG", compress_level=_PNG_LEVEL)
    return stream.getvalue()


def write_dataset(path: Path, items: Iterable[tuple[Photo, np.ndarray]], meta: Mapping[str, Any]) -> None:
    """Write a dataset, one photograph at a time: memory does not grow with their number.

    Args:
        path: the zip to write, whole or not at all.
        items: photographs with their images, [size, size, 3] uint8, all of one size. Photographs are numbered in
            this order: whatever ``file`` says is replaced.
        meta: JSON-able; licence, attribution, counts. ``format``, ``size`` and ``photographs`` are added.

    Raises:
        InputError: there are no photographs.
        ValueError: an image is not what it must be, or a percentile is not in [0, 1].
    """
    write_encoded(path, ((photo, encode_png(image)) for photo, image in items), meta)


def write_encoded(path: Path, items: Iterable[tuple[Photo, bytes]], meta: Mapping[str, Any]) -> None:
    """Write a dataset from images that are PNG already (`encode_png`), such as come from a pool of processes.

    Arguments and errors are those of `write_dataset`.
    """
    table, labels, size = TableWriter(), [], 0
    with atomic_path(path) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
        for index, (given, png) in enumerate(items):
            fault_point("dataset.photograph")
            photo = dataclasses.replace(given, file=member_name(index))
            size = _same_size(png, size, photo.file)
            if not all(0 <= p <= 1 for p in photo.percentiles):
                raise ValueError(f"percentiles of {photo.file} must be in [0, 1], got {photo.percentiles}")
            _add(archive, photo.file, png)
            table.add(photo)
            labels.append([photo.file, list(photo.percentiles)])
        if not labels:
            raise InputError(f"{path} would hold no photographs: none was left to write")
        own = {"format": FORMAT, "size": size, "photographs": len(labels)}
        _add(archive, META, _json({**own, **meta, **own}, indent=2))
        _add(archive, LABELS, _json({"labels": labels}))
        _add(archive, TABLE, table.bytes())


def _same_size(png: bytes, size: int, file: str) -> int:
    width, height = _png_size(png)
    if width != height or (size and width != size):
        raise ValueError(f"{file} must be square and of the size of the first, {size or width}, got {width} × {height}")
    return width


def _json(value: Any, indent: int | None = None) -> bytes:
    return (json.dumps(value, indent=indent, ensure_ascii=False, allow_nan=False) + "\n").encode("utf-8")


def _add(archive: zipfile.ZipFile, name: str, data: bytes) -> None:
    info = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
    info.create_system = 3  # Unix, on every system, so that the bytes are the same
    info.external_attr = 0o100644 << 16
    archive.writestr(info, data)


def open_dataset(path: str | Path) -> Dataset:
    """Open a dataset and check all of it but the pixels.

    Raises:
        InputError: no such file; not a zip; an unsafe member; a table missing or malformed; a label that is not three
            numbers in [0, 1]; a photograph that is listed and absent, or not a square 8-bit RGB PNG of the size said.
    """
    path = Path(path)
    with open_zip(path) as archive:
        members = checked_members(archive, path)
        for name in (META, LABELS, TABLE):
            if name not in members:
                raise InputError(f"{path} is not a dataset: it has no {name}; make one with `atlas dataset import`")
        meta = _read_meta(_read_json(archive, path, members[META]), path)
        labels = _read_labels(_read_json(archive, path, members[LABELS]), path)
        photos = tuple(read_table(_read_text(archive, path, members[TABLE]), f"{path}: {TABLE}"))
        files = tuple(photo.file for photo in photos)
        _compare(path, members, files, photos, labels)
        for file in files:
            _check_header(archive, path, members[file], meta["size"])
    return Dataset(
        path=path,
        size=meta["size"],
        photos=photos,
        files=files,
        labels=np.array([labels[file] for file in files], np.float32),
        meta=meta,
    )


def _read_text(archive: zipfile.ZipFile, path: Path, info: zipfile.ZipInfo) -> str:
    try:
        return read_member(archive, path, info).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: {info.filename} is not UTF-8: {error}") from error


def _read_json(archive: zipfile.ZipFile, path: Path, info: zipfile.ZipInfo) -> Any:
    try:
        return json.loads(_read_text(archive, path, info))
    except (json.JSONDecodeError, RecursionError) as error:
        raise InputError(f"{path}: {info.filename} is not valid JSON: {error}") from error


def _read_meta(meta: Any, path: Path) -> dict[str, Any]:
    size = meta.get("size") if isinstance(meta, dict) else None
    if not isinstance(size, int) or not 1 <= size <= MAX_SIDE:
        raise InputError(f"{path}: {META} must say the size of the photographs, 1 … {MAX_SIDE}, got {size!r}")
    return dict(meta)


def _read_labels(value: Any, path: Path) -> dict[str, list[float]]:
    rows = value.get("labels") if isinstance(value, dict) else None
    if not isinstance(rows, list) or not all(isinstance(r, list) and len(r) == 2 for r in rows):
        raise InputError(f'{path}: {LABELS} must hold "labels", a list of [file, [health, income, education]]')
    labels: dict[str, list[float]] = {}
    for file, label in rows:
        if (
            not isinstance(file, str)
            or not isinstance(label, list)
            or len(label) != 3
            or not all(map(_is_share, label))
        ):
            raise InputError(f"{path}: the label of {file!r} must be three numbers 0 … 1, got {label!r}")
        labels[file] = label
    return labels


def _is_share(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and 0 <= value <= 1


def _compare(
    path: Path,
    members: Mapping[str, zipfile.ZipInfo],
    files: Sequence[str],
    photos: Iterable[Photo],
    labels: Mapping[str, list[float]],
) -> None:
    """Hold the tables and the members against each other."""
    if not files:
        raise InputError(f"{path} holds no photographs")
    if list(files) != sorted(set(files)):
        raise InputError(f"{path}: the files in {TABLE} must be sorted, each once")
    for photo in photos:
        if photo.file not in members:
            raise InputError(f"{path}: photograph {photo.file!r} is listed in {TABLE} and not in the zip")
        if photo.file not in labels:
            raise InputError(f"{path}: photograph {photo.file!r} is listed in {TABLE} and has no label in {LABELS}")
        if list(photo.percentiles) != labels[photo.file]:
            raise InputError(
                f"{path}: the label of {photo.file!r} must be its percentiles in {TABLE}, "
                f"{list(photo.percentiles)}, got {labels[photo.file]}"
            )
    listed = set(files)
    for name in _unlisted(members, labels, listed):
        raise InputError(f"{path}: photograph {name!r} is not listed in {TABLE}")


def _unlisted(
    members: Mapping[str, zipfile.ZipInfo], labels: Mapping[str, list[float]], listed: set[str]
) -> Iterator[str]:
    yield from (name for name in members if name not in listed and name not in (META, LABELS, TABLE))
    yield from (name for name in labels if name not in listed)


def _png_size(header: bytes) -> tuple[int, int]:
    """Return (width, height) from the first bytes of a PNG.

    Raises:
        ValueError: it is not a PNG of 8-bit RGB.
    """
    if len(header) < _PNG_HEADER.size:
        raise ValueError("not a PNG file")
    signature, chunk, width, height, depth, colour = _PNG_HEADER.unpack_from(header)
    if signature != _PNG_SIGNATURE or chunk != b"IHDR":
        raise ValueError("not a PNG file")
    if (depth, colour) != _TRUECOLOUR_8:
        raise ValueError("not 8-bit RGB")
    return width, height


def _check_header(archive: zipfile.ZipFile, path: Path, info: zipfile.ZipInfo, size: int) -> None:
    try:
        with archive.open(info) as stream:
            width, height = _png_size(stream.read(_PNG_HEADER.size))
    except (zipfile.BadZipFile, NotImplementedError, ValueError) as error:
        raise InputError(f"{path}: photograph {info.filename!r} cannot be used: {error}") from error
    if (width, height) != (size, size):
        raise InputError(f"{path}: photograph {info.filename!r} must be {size} × {size}, got {width} × {height}")


def _decode(data: bytes, file: str, dataset: Dataset) -> np.ndarray:
    """Decode one photograph, whose header is looked at again: the file may have changed since it was opened."""
    try:
        if _png_size(data) != (dataset.size, dataset.size):
            raise ValueError(f"not {dataset.size} × {dataset.size}")
        with Image.open(io.BytesIO(data), formats=("PNG",)) as image:
            return np.asarray(image)
    except (OSError, SyntaxError, ValueError) as error:
        raise InputError(f"{dataset.path}: photograph {file!r} is damaged: {error}") from error
