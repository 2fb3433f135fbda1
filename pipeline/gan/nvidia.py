"""NVIDIA's checkpoints, the ``.pkl`` files of stylegan2-ada-pytorch, read as data.

Such a file is a pickled dictionary: ``G_ema`` (the averaged generator, the one to use), ``G``, ``D``, ``augment_pipe``.
Each module in it carries the Python source of its class, which the official loader executes. Here it is dropped; what
is kept is the module's state (parameters, buffers, submodules) and the arguments it was made with, which say what the
architecture is. Numbers lie in storages, each a nested file of ``torch.save``'s older format; those are read by the
same interpreter, without ``torch.load``.
"""

from __future__ import annotations

import io
import mmap
import re
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from atlas.errors import InputError
from pipeline.gan.pickled import Inert, Name, PickleReader

MAGIC, PROTOCOL = 0x1950A86A20F9469CFC6C, 1001  # what a file of torch.save's older format begins with
MOST_LEVELS = 16  # of modules within modules; official networks have 5
MOST_ENTRIES = 10_000  # tensors and modules of one network; the largest official one has about 600

DTYPES = {
    "torch.DoubleStorage": torch.float64,
    "torch.FloatStorage": torch.float32,
    "torch.HalfStorage": torch.float16,
    "torch.BFloat16Storage": torch.bfloat16,
    "torch.LongStorage": torch.int64,
    "torch.IntStorage": torch.int32,
    "torch.ShortStorage": torch.int16,
    "torch.CharStorage": torch.int8,
    "torch.ByteStorage": torch.uint8,
    "torch.BoolStorage": torch.bool,
}


@dataclass
class PickledModule:
    """A module as it lies in the file.

    Attributes:
        class_name: of its class, such as "Generator".
        state: its attributes by name.
    """

    class_name: str
    state: dict[str, Any]

    def tensors(self) -> dict[str, Tensor]:
        """Return its parameters and buffers, and those of its submodules, by dotted name, as ``state_dict`` would.

        Raises:
            ValueError: it is not built like a module.
        """
        return dict(self._walk("", {}))

    def _walk(self, prefix: str, seen: dict[int, int]) -> Iterator[tuple[str, Tensor]]:
        """Yield tensors; ``seen`` holds the modules before this one and how many entries each has."""
        kinds = [_table(self.state[kind]) for kind in ("_parameters", "_buffers", "_modules")]
        if id(self) in seen or prefix.count(".") > MOST_LEVELS:
            raise ValueError("a module stands within itself, or in two places")
        seen[id(self)] = sum(map(len, kinds))
        if sum(seen.values()) > MOST_ENTRIES:
            raise ValueError("more tensors and modules than a network has")
        passing = self.state.get("_non_persistent_buffers_set", ())
        for name, tensor in (*kinds[0].items(), *kinds[1].items()):
            if tensor is None or name in passing:
                continue
            if not isinstance(tensor, Tensor):
                raise ValueError(f"{name} is no tensor")
            yield f"{prefix}{name}", tensor
        for name, module in kinds[2].items():
            if not isinstance(module, PickledModule):
                raise ValueError(f"{name} is no module")
            yield from module._walk(f"{prefix}{name}.", seen)


def read_nvidia(path: Path) -> dict[str, PickledModule]:
    """Read a ``.pkl`` of stylegan2-ada-pytorch.

    Returns:
        The modules it holds by their names in the file: "G_ema", "G", "D".

    Raises:
        InputError: not there, cut, damaged, of the older TensorFlow kind, or it asks for more than data (nothing in it
            was run).
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as memory:
            found = _reader(str(path), size).read(memory)
    except FileNotFoundError as error:
        raise InputError(f"no checkpoint at {path}") from error
    except ValueError as error:  # an empty file cannot be mapped
        raise InputError(f"{path} is damaged or no checkpoint of this kind: copy it again") from error
    if not isinstance(found, dict) or not isinstance(found.get("G_ema"), PickledModule):
        raise InputError(f"{path} is no checkpoint of stylegan2-ada-pytorch: it must hold a network named G_ema")
    return {name: module for name, module in found.items() if isinstance(module, PickledModule)}


def _reader(file: str, size: int) -> PickleReader:
    """Return the reader with the list of all that an official file names."""
    calls: dict[str, Callable[..., Any]] = {
        "torch_utils.persistence._reconstruct_persistent_obj": _module,
        "collections.OrderedDict": lambda: {},
        "dnnlib.util.EasyDict": lambda: {},
        "builtins.set": _set,
        "__builtin__.set": _set,
        "_codecs.encode": _encode,
        "numpy.dtype": lambda *parts: Inert(parts),
        "numpy._core.multiarray.scalar": _scalar,
        "numpy.core.multiarray.scalar": _scalar,
        "torch.storage._load_from_bytes": lambda data: _read_storage(data, file),
        "torch._utils._rebuild_tensor": _rebuild_tensor,
        "torch._utils._rebuild_tensor_v2": _rebuild_tensor,
        "torch._utils._rebuild_parameter": lambda tensor, *_: tensor,
        # A TensorFlow file names this; it is let through so that the file can be told what it is.
        "dnnlib.tflib.network.Network": lambda *_: _refuse_tensorflow(file),
    }
    return PickleReader(file, size, calls)


def _refuse_tensorflow(file: str) -> None:
    raise InputError(
        f"{file} is of the older TensorFlow kind: convert it with legacy.py of NVIDIA's stylegan2-ada-pytorch first"
    )


def _module(meta: Any) -> PickledModule:
    if meta["type"] != "class" or not isinstance(meta["class_name"], str) or not isinstance(meta["state"], dict):
        raise ValueError("no module")
    return PickledModule(meta["class_name"], meta["state"])


def _table(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise ValueError("no table of names")
    return value


def _set(items: list[Any]) -> set[str]:
    if not all(isinstance(item, str) for item in items):
        raise ValueError("no set of texts")
    return set(items)


def _encode(text: str, encoding: str) -> bytes:
    if encoding != "latin1":
        raise ValueError("no bytes")
    return text.encode("latin1")


def _scalar(dtype: Inert, data: bytes) -> int | float | bool:
    """Return a NumPy number as a plain one. ``dtype``: made of its code, such as "f8"; its state begins (3, order)."""
    code = dtype.parts[0]
    if not re.fullmatch("b1|[iu][1248]|f[248]", code):
        raise ValueError("no number")
    order = dtype.state[1] if dtype.state else "<"
    kind = np.dtype(code).newbyteorder("<" if order == "|" else order)
    number: int | float | bool = np.frombuffer(data, kind, count=1)[0].item()
    return number


def _rebuild_tensor(storage: Tensor, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: Any) -> Tensor:
    """Lay a tensor over a storage, [numel]. It may not reach beyond it, nor repeat it."""
    if not isinstance(storage, Tensor) or min((offset, *size, *stride)) < 0 or len(size) != len(stride):
        raise ValueError("no tensor")
    count = 1
    for length in size:
        count *= length
    reach = offset + sum((length - 1) * step for length, step in zip(size, stride, strict=True)) + 1
    if count > len(storage) or (count and reach > len(storage)):
        raise ValueError("a tensor reaches beyond its storage")
    return torch.as_strided(storage, size, stride, offset)


def _read_storage(data: bytes, file: str) -> Tensor:
    """Read a storage as ``torch.save``'s older format holds it, and return its numbers, [numel].

    Five pickles (a magic number, the format's version, facts of the machine, the storage's description as a
    persistent id, the list of keys), then the count as int64 and the numbers, little-endian.

    Raises:
        InputError: it is damaged, holds fewer numbers than it declares, or asks for more than data.
    """

    def described(parts: tuple[Any, ...]) -> tuple[torch.dtype, str, int]:
        kind, dtype, key, _location, count, *view = parts
        if kind != "storage" or not isinstance(dtype, Name) or any(v is not None for v in view):
            raise ValueError("no storage")
        return DTYPES[str(dtype)], key, count

    reader = PickleReader(file, len(data), {}, names=DTYPES, persistent=described)
    stream = io.BytesIO(data)
    magic, protocol, machine, storage, keys = (reader.read(stream) for _ in range(5))
    try:
        dtype, key, count = storage
        (length,) = struct.unpack("<q", stream.read(8))
        numbers = stream.read()
        sound = (magic, protocol, machine["little_endian"], keys, count) == (MAGIC, PROTOCOL, True, [key], length)
        if not sound or length < 0 or len(numbers) != length * dtype.itemsize:
            raise reader.damaged()
    except (ValueError, TypeError, KeyError, struct.error) as error:
        raise reader.damaged() from error
    return torch.frombuffer(bytearray(numbers), dtype=dtype) if count else torch.empty(0, dtype=dtype)
