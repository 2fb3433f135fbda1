"""Published weights of feature networks, given by the user as files of named tensors. No code in a file is run."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor, nn

from atlas.errors import InputError
from pipeline.gan.formats import read_safetensors
from pipeline.torchfile import read_torch_file


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read named tensors from a ``.safetensors`` file or a ``torch.save`` of a state dictionary.

    Where a checkpoint holds one as ``state_dict``, that is read.

    Raises:
        InputError: not such a file; a TorchScript archive among others, which is a program and is not run.
    """
    if path.suffix == ".safetensors":
        return read_safetensors(path)[0]
    if _is_program(path):
        raise InputError(
            f"{path} is a TorchScript archive, a program, which is not run: give the network's tensors alone, "
            "as a state dictionary (.pt, .pth) or .safetensors"
        )
    found = read_torch_file(path)
    inner = found.get("state_dict", found)
    if not isinstance(inner, Mapping):
        raise InputError(f"{path}: state_dict must hold named tensors, got {type(inner).__name__}")
    return {name: value for name, value in inner.items() if isinstance(value, Tensor)}


def fill(network: nn.Module, tensors: dict[str, Tensor], path: Path, what: str, unused: tuple[str, ...] = ()) -> None:
    """Copy tensors into a network.

    Args:
        network: whose names the tensors have.
        tensors: what a file held.
        path: of that file.
        what: the network, in words.
        unused: beginnings of names that the file may have beyond the network's.

    Raises:
        InputError: a tensor is missing, unexpected or of another shape; all are listed.
    """
    own = network.state_dict()
    faults = [f"{name} is missing" for name in own if name not in tensors and not name.endswith("num_batches_tracked")]
    faults += [f"{name} is unexpected" for name in tensors if name not in own and not name.startswith(unused)]
    faults += [
        f"{name} must be {list(own[name].shape)}, got {list(t.shape)}"
        for name, t in tensors.items()
        if name in own and own[name].shape != t.shape
    ]
    if faults:
        more = f" and {len(faults) - 6} more" if len(faults) > 6 else ""
        raise InputError(f"{path} does not hold {what}: {'; '.join(faults[:6])}{more}")
    network.load_state_dict({name: tensors.get(name, own[name]) for name in own})
    network.eval().requires_grad_(False)


def _is_program(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            return any("/code/" in name or name.endswith("/constants.pkl") for name in archive.namelist())
    except (OSError, zipfile.BadZipFile):
        return False
