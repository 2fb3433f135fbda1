"""Files written by ``torch.save``, read as data: tensors, numbers, strings and containers, and nothing that runs."""

from __future__ import annotations

import argparse
import pickle
import struct
import zipfile
from pathlib import Path
from typing import Any

import torch

from atlas.errors import InputError

# What PyTorch's loader raises on files that are cut or changed.
_DAMAGE = (
    *(RuntimeError, EOFError, ValueError, LookupError, AttributeError, TypeError, OSError),
    *(AssertionError, ArithmeticError, MemoryError, struct.error),
)


def read_torch_file(path: Path) -> dict[str, Any]:
    """Read a ``.pt`` file by PyTorch's weights-only loader.

    Published checkpoints keep their command line in an ``argparse.Namespace``: of all classes beyond PyTorch's own
    list that one alone is let through, and it only holds values.

    Args:
        path: a file written by ``torch.save`` whose outermost value is a dictionary.

    Returns:
        That dictionary, tensors on the CPU.

    Raises:
        InputError: not there, not such a file, or it holds anything but data (nothing is executed).
    """
    _refuse_compressed(path)
    try:
        with torch.serialization.safe_globals([argparse.Namespace]):
            found = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise InputError(f"no checkpoint at {path}") from error
    except pickle.UnpicklingError as error:
        raise InputError(
            f"{path} holds more than data and is not read, nothing in it was run: only tensors, numbers, strings and "
            "containers of them are"
        ) from error
    except _DAMAGE as error:
        raise InputError(f"{path} is not a whole file of torch.save: copy it again") from error
    if not isinstance(found, dict):
        raise InputError(f"{path} must hold a dictionary of named parts, got {type(found).__name__}")
    return found


def _refuse_compressed(path: Path) -> None:
    """Refuse a zip that says it holds more than its own length; torch.save compresses nothing."""
    try:
        with zipfile.ZipFile(path) as archive:
            held = sum(entry.file_size for entry in archive.infolist())
    except (OSError, zipfile.BadZipFile, ValueError, NotImplementedError):
        return  # not a zip: the older format, or for the loader to refuse
    if held > path.stat().st_size:
        raise InputError(f"{path} is compressed or claims more than it holds, which no file of torch.save does")
