"""The archive ``NAME.zarr``: the truth from which everything published is made. The only file that knows zarr.

The format is in SPEC.md. An archive is written plane by plane; a plane is one shard, put in place whole, so that a
killed writer loses at most the plane in hand. It says ``complete: true`` only when nothing is missing.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from zarr.codecs import BloscCodec, Crc32cCodec

from atlas.errors import InputError
from atlas.faults import fault_point
from atlas.files import remove_partials
from atlas.grid import Grid
from atlas.info import FORMAT_VERSION, ArchiveInfo

__all__ = ["FORMAT_VERSION", "Archive", "ArchiveInfo", "ArchiveWriter", "open_atlas"]

_GRID_NAMES = ("base", "health", "income", "education")
_DIMENSIONS = {
    "images": (*_GRID_NAMES, "y", "x", "rgb"),
    "bases": ("base", "num_ws", "w_dim"),
    "directions": ("axis", "num_ws", "w_dim"),
    "scores": (*_GRID_NAMES, "axis"),
    "typicality": _GRID_NAMES,
}
_MISSING_CHUNK = 2**64 - 1  # what the index of a shard holds for a chunk that was never written
_CRC_BYTES = 4
# An all-black image is an image: without this, zarr leaves out chunks that equal the fill value.
_WRITE_ALL: Any = {"write_empty_chunks": True}


def _shapes(info: ArchiveInfo) -> dict[str, tuple[int, ...]]:
    grid = info.grid
    return {
        "images": (*grid.shape, info.size, info.size, 3),
        "bases": (grid.bases, info.num_ws, info.w_dim),
        "directions": (3, info.num_ws, info.w_dim),
        "scores": (*grid.shape, 3),
        "typicality": grid.shape,
    }


def discard_archive(path: Path) -> None:
    """Remove the archive at ``path``, whole or begun; a kill in between leaves no half of it under that name.

    Raises:
        InputError: something that is no archive lies there.
    """
    replaced = path.with_name(f".{path.name}.old")
    shutil.rmtree(replaced, ignore_errors=True)
    if path.exists():
        _require_archive(path)
        path.rename(replaced)
        shutil.rmtree(replaced)


class ArchiveWriter:
    """Writes an archive plane by plane.

    Example:
        >>> writer = ArchiveWriter.create(path, info, bases, directions, resume=True)
        >>> for base, health in info.grid.planes():
        ...     if not writer.has_plane(base, health):
        ...         writer.write_plane(base, health, render(base, health))
        >>> writer.finish(scores, typicality)
    """

    def __init__(self, path: Path, info: ArchiveInfo, group: zarr.Group) -> None:
        self.path = path
        self.info = info
        self._group = group
        self._images = _array(group, "images").with_config(_WRITE_ALL)

    @classmethod
    def create(
        cls, path: Path, info: ArchiveInfo, bases: np.ndarray, directions: np.ndarray, *, resume: bool
    ) -> ArchiveWriter:
        """Begin an archive, or go on with one that was begun.

        Args:
            path: the folder ``NAME.zarr``.
            info: what the archive says about itself.
            bases: [base, num_ws, w_dim] float32, finite: the latent codes.
            directions: [3, num_ws, w_dim] float32, finite: the vector of one step along each axis.
            resume: keep the planes that an earlier writer of the same info, bases and directions has left; otherwise,
                or if they differ, what lies there is removed.

        Raises:
            InputError: an array has the wrong shape or holds NaN, or something that is no archive lies at ``path``.
        """
        shapes = _shapes(info)
        codes = {"bases": _floats("bases", bases, shapes), "directions": _floats("directions", directions, shapes)}
        if path.exists():
            if resume and _same(path, info, codes):
                remove_partials(path)
                group = zarr.open_group(path, mode="r+")
                group.attrs.put(_attributes(info, complete=False))
                return cls(path, info, group)
            discard_archive(path)
        return cls(path, info, _skeleton(path, info, codes))

    def has_plane(self, base: int, health: int) -> bool:
        """Return whether the plane of ``base`` at the health index 0 … 2n is there, whole."""
        return _shard_path(self._images, self.path, base, health).exists()

    def write_plane(self, base: int, health: int, images: np.ndarray) -> None:
        """Write one plane as one shard, whole or not at all.

        Args:
            base: number of the base.
            health: health index, 0 … 2n.
            images: [income, education, y, x, rgb] uint8.

        Raises:
            InputError: the shape or dtype is wrong.
        """
        expected = self._images.shape[2:]
        if images.shape != expected or images.dtype != np.uint8:
            raise InputError(f"a plane must be uint8 {expected}, got {images.dtype} {images.shape}")
        self._images[base, health] = images
        fault_point("render.shard")

    def finish(self, scores: np.ndarray, typicality: np.ndarray) -> None:
        """Write what is known of every node and mark the archive complete.

        Args:
            scores: [base, health, income, education, 3] float32, finite.
            typicality: [base, health, income, education] float32 in [0, 1].

        Raises:
            InputError: a plane is missing, or an array has the wrong shape or range.
        """
        grid = self.info.grid
        missing = [plane for plane in grid.planes() if not self.has_plane(*plane)]
        if missing:
            raise InputError(
                f"{self.path} lacks {len(missing)} of {grid.bases * grid.side} planes, the first is base "
                f"{missing[0][0]}, health index {missing[0][1]}: render them before finishing"
            )
        shapes = _shapes(self.info)
        values = {
            "scores": _floats("scores", scores, shapes),
            "typicality": _floats("typicality", typicality, shapes),
        }
        if values["typicality"].min() < 0 or values["typicality"].max() > 1:
            raise InputError("typicality must be 0 … 1, it is a share of samples")
        for name, value in values.items():
            _write_floats(self._group, name, value, chunks=(1, *value.shape[1:]))
        self._group.attrs.put(_attributes(self.info, complete=True))


class Archive:
    """A finished archive, opened for reading; use `open_atlas`.

    Attributes:
        path: the folder.
        info: what the archive says about itself.
        grid: its grid.
    """

    def __init__(self, path: Path, info: ArchiveInfo, group: zarr.Group) -> None:
        self.path = path
        self.info = info
        self._group = group
        self._images = _array(group, "images")

    @property
    def grid(self) -> Grid:
        """Return the grid: bases and steps."""
        return self.info.grid

    @cached_property
    def bases(self) -> np.ndarray:
        """Return the latent codes, [base, num_ws, w_dim] float32."""
        return self._read("bases")

    @cached_property
    def directions(self) -> np.ndarray:
        """Return the vector of one step along each axis, [3, num_ws, w_dim] float32."""
        return self._read("directions")

    @cached_property
    def scores(self) -> np.ndarray:
        """Return the three scores of every node, [base, health, income, education, 3] float32."""
        return self._read("scores")

    @cached_property
    def typicality(self) -> np.ndarray:
        """Return how usual every node's code is, [base, health, income, education] float32, 0 … 1."""
        return self._read("typicality")

    def image(self, *, base: int = 0, health: int = 0, income: int = 0, education: int = 0) -> np.ndarray:
        """Return one image by its base and steps, [y, x, rgb] uint8.

        Raises:
            IndexError: outside the grid.
            InputError: the archive is damaged there.
        """
        index = self.grid.index(base, health, income, education)
        return self.node(base, (index[1], index[2], index[3]))

    def node(self, base: int, index: tuple[int, int, int]) -> np.ndarray:
        """Return one image by its base and three *indices* 0 … 2n, [y, x, rgb] uint8."""
        health, income, education = ((i, i + 1) for i in index)
        image: np.ndarray = self.block(base, health, income, education)[0, 0, 0]
        return image

    def plane(self, base: int, health: int) -> np.ndarray:
        """Return the plane of ``base`` at the health *index*, [income, education, y, x, rgb] uint8."""
        side = self.grid.side
        plane: np.ndarray = self.block(base, (health, health + 1), (0, side), (0, side))[0]
        return plane

    def block(
        self, base: int, health: tuple[int, int], income: tuple[int, int], education: tuple[int, int]
    ) -> np.ndarray:
        """Return the images in ranges of indices (from, to), [health, income, education, y, x, rgb] uint8.

        Raises:
            InputError: a shard is missing or damaged; the message names it.
        """
        for index in range(*health):
            self._require_shard(base, index)
        try:
            images = self._images[base, slice(*health), slice(*income), slice(*education)]
        except (ValueError, RuntimeError) as error:
            where = f"base {base}, health index {health[0]} … {health[1] - 1}"
            raise InputError(f"{self.path}: the images of {where} are damaged: {error}") from error
        return np.asarray(images)

    def faults(self) -> Iterator[str]:
        """Decode everything and yield one line per fault: what is missing, damaged or of the wrong shape."""
        for name in _DIMENSIONS:
            yield from self._array_faults(name)
        for base, health in self.grid.planes():
            yield from self._plane_faults(base, health)
        yield from self._strangers()

    def _array_faults(self, name: str) -> Iterator[str]:
        array = _array(self._group, name)
        if array.metadata.dimension_names != _DIMENSIONS[name]:
            yield f"{name}: dimension_names must be {', '.join(_DIMENSIONS[name])}"
        codecs = str(array.metadata.to_dict()["codecs"])
        if "crc32c" not in codecs:
            yield f"{name}: its chunks carry no crc32c"
        if name == "images":
            return
        missing = [key for key in _chunk_keys(array) if not (self.path / name / key).exists()]
        if missing:
            yield f"{name}: chunk {missing[0]} is missing"
            return
        try:
            values = self._read(name)
        except InputError as error:
            yield f"{name}: {error}"
            return
        if not np.isfinite(values).all():
            yield f"{name}: holds values that are not finite"
        if name == "typicality" and (values.min() < 0 or values.max() > 1):
            yield "typicality: must be 0 … 1"

    def _plane_faults(self, base: int, health: int) -> Iterator[str]:
        where = f"images: base {base}, health index {health}"
        shard = _shard_path(self._images, self.path, base, health)
        if not shard.exists():
            yield f"{where}: the shard is missing"
            return
        missing = _missing_chunks(shard, self.grid.side**2)
        if missing:
            yield f"{where}: {missing} images are missing from the shard"
            return
        try:
            self.plane(base, health)
        except InputError as error:
            yield f"{where}: {error}"

    def _strangers(self) -> Iterator[str]:
        known = {self.path / "zarr.json"}
        for name in _DIMENSIONS:
            keys = _chunk_keys(_array(self._group, name))
            known.update(self.path / name / key for key in ("zarr.json", *keys))
        for file in sorted(self.path.rglob("*")):
            if file.is_file() and file not in known:
                yield f"{file.relative_to(self.path).as_posix()}: not a file of the archive"

    def _read(self, name: str) -> np.ndarray:
        try:
            return np.asarray(_array(self._group, name)[...])
        except (ValueError, RuntimeError) as error:
            raise InputError(f"{self.path}: {name} is damaged: {error}") from error

    def _require_shard(self, base: int, health: int) -> None:
        # zarr reads a missing shard as black images; a reader must be told instead.
        if not _shard_path(self._images, self.path, base, health).exists():
            raise InputError(
                f"{self.path} lacks the plane of base {base}, health index {health}: `atlas verify` says what else"
            )


def open_atlas(path: str | Path) -> Archive:
    """Open a finished archive.

    Raises:
        InputError: nothing is there, it is no archive of an atlas, or it is not finished.

    Example:
        >>> open_atlas("NAME.zarr").image(base=0, health=-3, income=0, education=12)
    """
    path = Path(path)
    if not path.is_dir():
        raise InputError(f"{path} must be the folder of an archive (NAME.zarr), and no folder is there")
    try:
        group = zarr.open_group(path, mode="r")
        attributes = dict(group.attrs)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} is not a Zarr group, so not the archive of an atlas") from error
    info = ArchiveInfo.from_attributes(attributes, str(path))
    if attributes.get("complete") is not True:
        raise InputError(f"{path} is unfinished: run `atlas render` again, it goes on where it stopped")
    for name, shape in _shapes(info).items():
        try:
            array = _array(group, name)
        except (KeyError, ValueError, TypeError) as error:
            raise InputError(f"{path}: the array {name} is missing or unreadable") from error
        dtype = "uint8" if name == "images" else "float32"
        if array.shape != shape or str(array.dtype) != dtype:
            raise InputError(f"{path}: {name} must be {dtype} {shape}, got {array.dtype} {array.shape}")
    return Archive(path, info, group)


def _array(group: zarr.Group, name: str) -> Any:
    """Return an array of the group; KeyError if it is absent. Typed Any: zarr's own union of types helps nobody."""
    array = group[name]
    if not isinstance(array, zarr.Array):
        raise TypeError(f"{name} is a group")
    return array


def _attributes(info: ArchiveInfo, *, complete: bool) -> dict[str, Any]:
    return {**info.attributes(), "complete": complete}


def _skeleton(path: Path, info: ArchiveInfo, codes: dict[str, np.ndarray]) -> zarr.Group:
    """Write everything but images and what follows from them, beside ``path``, and put it in place at once."""
    temporary = path.with_name(f".{path.name}.new")
    shutil.rmtree(temporary, ignore_errors=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    group = zarr.create_group(temporary, zarr_format=3, attributes=_attributes(info, complete=False))
    image = (info.size, info.size, 3)
    group.create_array(
        "images",
        shape=_shapes(info)["images"],
        dtype="uint8",
        shards=(1, 1, info.grid.side, info.grid.side, *image),
        chunks=(1, 1, 1, 1, *image),
        # One block per image: with several, blosc may order them by whichever thread is done first.
        compressors=[
            BloscCodec(cname="zstd", clevel=5, shuffle="bitshuffle", typesize=1, blocksize=int(np.prod(image))),
            Crc32cCodec(),
        ],
        fill_value=0,
        dimension_names=_DIMENSIONS["images"],
        config=_WRITE_ALL,
    )
    _write_floats(group, "bases", codes["bases"], chunks=(1, *codes["bases"].shape[1:]))
    _write_floats(group, "directions", codes["directions"], chunks=codes["directions"].shape)
    temporary.rename(path)
    return zarr.open_group(path, mode="r+")


def _write_floats(group: zarr.Group, name: str, values: np.ndarray, chunks: tuple[int, ...]) -> None:
    array = group.create_array(
        name,
        shape=values.shape,
        dtype="float32",
        chunks=chunks,
        compressors=[
            BloscCodec(cname="zstd", clevel=5, shuffle="shuffle", typesize=4, blocksize=4 * int(np.prod(chunks))),
            Crc32cCodec(),
        ],
        fill_value=0.0,
        dimension_names=_DIMENSIONS[name],
        config=_WRITE_ALL,
        overwrite=True,
    )
    array[...] = values


def _floats(name: str, values: np.ndarray, shapes: dict[str, tuple[int, ...]]) -> np.ndarray:
    if values.shape != shapes[name]:
        raise InputError(f"{name} must have the shape {shapes[name]}, got {values.shape}")
    floats = np.ascontiguousarray(values, dtype=np.float32)
    if not np.isfinite(floats).all():
        raise InputError(f"{name} must be finite numbers, and some are NaN or infinite")
    return floats


def _same(path: Path, info: ArchiveInfo, codes: dict[str, np.ndarray]) -> bool:
    """Return whether the archive at ``path`` was begun for exactly this."""
    try:
        group = zarr.open_group(path, mode="r")
        attributes = dict(group.attrs)
        if _attributes(info, complete=False) != {**attributes, "complete": False}:
            return False
        same_shape = _array(group, "images").shape == _shapes(info)["images"]
        return same_shape and all(np.array_equal(_array(group, name)[...], value) for name, value in codes.items())
    except (OSError, ValueError, KeyError, TypeError, RuntimeError):
        return False


def _require_archive(path: Path) -> None:
    """Refuse to replace what is not an archive: a mistyped --out must not delete a stranger's folder."""
    if path.is_dir() and (not any(path.iterdir()) or (path / "zarr.json").exists()):
        return
    raise InputError(f"{path} is in the way and is not an archive: remove it or choose another name with --out")


def _chunk_keys(array: Any) -> list[str]:
    """Return the key of every object that an array must have: its shards, or its chunks where there are none."""
    lengths = array.shards or array.chunks
    counts = [-(-extent // length) for extent, length in zip(array.shape, lengths, strict=True)]
    return [array.metadata.encode_chunk_key(place) for place in np.ndindex(*counts)]


def _shard_path(images: Any, path: Path, base: int, health: int) -> Path:
    key: str = images.metadata.encode_chunk_key((base, health, 0, 0, 0, 0, 0))
    return path / "images" / key


def _missing_chunks(shard: Path, chunks: int) -> int:
    """Return how many chunks the index at the end of a shard says were never written."""
    length = 16 * chunks
    with shard.open("rb") as stream:
        size = stream.seek(0, 2)
        if size < length + _CRC_BYTES:
            return chunks
        stream.seek(size - length - _CRC_BYTES)
        index = np.frombuffer(stream.read(length), dtype="<u8").reshape(chunks, 2)
    return int((index[:, 0] == _MISSING_CHUNK).sum())
