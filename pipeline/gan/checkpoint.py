"""Networks as files: safetensors by the official tensor names, the architecture as JSON in the metadata.

Other formats join in `_READERS`: each reader turns a file into a `Checkpoint`, named tensors and an optional
description, and everything after that (inference, checks, errors) is shared.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from atlas.errors import InputError
from atlas.files import atomic_path
from pipeline.gan.architecture import DiscriminatorArchitecture, GeneratorArchitecture
from pipeline.gan.networks import (
    RESAMPLE_TAPS,
    Discriminator,
    DiscriminatorBlock,
    Generator,
    SynthesisBlock,
)
from pipeline.gan.ops import setup_filter

ARCHITECTURE_KEY = "architecture"
REDUCED_RESOLUTIONS = 4  # as in the official networks, so many of the highest resolutions leave float32
PRECISIONS = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class Checkpoint:
    """A network as read from a file: tensors by official names, and its architecture in JSON where the file has it."""

    tensors: Mapping[str, Tensor]
    architecture: str | None = None


def load_generator(path: str | Path, device: str = "cpu", precision: str = "fp32") -> Generator:
    """Load a generator for use: evaluation mode, no gradients.

    Args:
        path: a ``.safetensors`` file; bare official tensor names are enough.
        device: where it shall run, such as "cpu" or "cuda".
        precision: of the synthesis network: "fp32", "bf16" (where the hardware has it, see `set_precision`) or
            "fp16" (GPU only). Mapping stays float32.

    Raises:
        InputError: not readable, not a generator, a tensor missing, unexpected or of another shape (all are listed),
            the file's description contradicts its tensors, or the device or precision does not exist.
    """
    path = Path(path)
    check_device(device, precision)
    found = _read(path)
    shapes = {name: tuple(t.shape) for name, t in found.tensors.items()}
    arch = GeneratorArchitecture.infer(shapes, path.name)
    if found.architecture is not None:
        arch = _agreed(GeneratorArchitecture.from_json(found.architecture, path.name), arch, path, ("conv_clamp",))
    G = Generator(arch)
    _fill(G, found.tensors, path)
    set_precision(G, precision, device)
    return G.eval().requires_grad_(False).to(device)


def load_discriminator(path: str | Path, device: str = "cpu", precision: str = "fp32") -> Discriminator:
    """Load a discriminator for use: evaluation mode, no gradients. Errors as in `load_generator`."""
    path = Path(path)
    check_device(device, precision)
    found = _read(path)
    shapes = {name: tuple(t.shape) for name, t in found.tensors.items()}
    arch = DiscriminatorArchitecture.infer(shapes, path.name)
    if found.architecture is not None:
        told = DiscriminatorArchitecture.from_json(found.architecture, path.name)
        arch = _agreed(told, arch, path, ("conv_clamp", "mbstd_group"))
    D = Discriminator(arch)
    _fill(D, found.tensors, path)
    set_precision(D, precision, device)
    return D.eval().requires_grad_(False).to(device)


def save_network(network: Generator | Discriminator, path: str | Path) -> None:
    """Write a network's tensors as safetensors with its architecture in the metadata, whole or not at all."""
    tensors = {name: t.detach().cpu().contiguous() for name, t in network.state_dict().items()}
    with atomic_path(Path(path)) as temporary:
        save_file(tensors, temporary, metadata={ARCHITECTURE_KEY: network.architecture.to_json()})


def set_precision(network: Generator | Discriminator, precision: str, device: str = "cpu") -> None:
    """Let the blocks of the highest resolutions compute in another precision; weights stay as they are.

    A processor without bfloat16 instructions would emulate them at a tenth of the speed: there "bf16" computes in
    float32, which is faster and more exact.
    """
    if precision == "bf16" and not bf16_is_native(device):
        precision = "fp32"
    for block in network.modules():
        if isinstance(block, SynthesisBlock | DiscriminatorBlock):
            reduced = block.resolution > network.img_resolution >> REDUCED_RESOLUTIONS
            block.dtype = PRECISIONS[precision] if reduced else None


def bf16_is_native(device: str) -> bool:
    """Return whether bfloat16 convolutions are faster than emulated ones on this device."""
    return torch.device(device).type != "cpu" or bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def check_device(device: str, precision: str = "fp32") -> None:
    """Refuse a device that is not there, and a precision that does not exist on it.

    Raises:
        InputError: see above.
    """
    try:
        kind = torch.device(device).type
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise InputError(
            f"device {device!r} cannot be used here: it must be cpu, or cuda where PyTorch finds a GPU"
        ) from error
    if precision not in PRECISIONS:
        raise InputError(f"precision must be one of {', '.join(PRECISIONS)}, got {precision!r}")
    if precision == "fp16" and kind == "cpu":
        raise InputError("precision fp16 needs a GPU, got device cpu: use fp32 or bf16 here")


def read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return a safetensors file's tensors and metadata.

    Raises:
        InputError: the file is not there or not whole.
    """
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, dict(file.metadata() or {})  # noqa: SIM118
    except FileNotFoundError as error:
        raise InputError(f"no checkpoint at {path}") from error
    except SafetensorError as error:
        raise InputError(f"{path} is not a whole safetensors file ({error}): copy or make it again") from error


def _read_safetensors_checkpoint(path: Path) -> Checkpoint:
    tensors, metadata = read_safetensors(path)
    return Checkpoint(tensors, metadata.get(ARCHITECTURE_KEY))


_READERS: dict[str, Callable[[Path], Checkpoint]] = {".safetensors": _read_safetensors_checkpoint}


def _read(path: Path) -> Checkpoint:
    if path.suffix not in _READERS:
        raise InputError(f"{path} is not a checkpoint that can be read: its name must end in {', '.join(_READERS)}")
    return _READERS[path.suffix](path)


A = TypeVar("A", GeneratorArchitecture, DiscriminatorArchitecture)


def _agreed(told: A, inferred: A, path: Path, untold: tuple[str, ...]) -> A:
    """Return what the file says of itself, if its tensors say the same; ``untold`` leaves no trace in tensors."""
    inferred = dataclasses.replace(inferred, **{name: getattr(told, name) for name in untold})
    if told != inferred:
        raise InputError(f"{path}: its metadata contradict its tensors: {told.differences(inferred)}")
    return told


def _fill(network: nn.Module, tensors: Mapping[str, Tensor], path: Path) -> None:
    """Copy tensors into a network; every name and shape must match.

    Raises:
        InputError: lists all that is missing, unexpected or of another shape.
    """
    own = network.state_dict()
    faults = [f"{name} is missing" for name in own if name not in tensors]
    faults += [f"{name} is unexpected" for name in tensors if name not in own]
    faults += [
        f"{name} must be {list(own[name].shape)}, got {list(t.shape)}"
        for name, t in tensors.items()
        if name in own and own[name].shape != t.shape
    ]
    taps = setup_filter(RESAMPLE_TAPS)
    faults += [
        f"{name} must be the filter of {RESAMPLE_TAPS}"
        for name, t in tensors.items()
        if name.endswith("resample_filter") and t.shape == taps.shape and not torch.allclose(t.float(), taps)
    ]
    if faults:
        raise InputError(f"{path} does not fit its network: {'; '.join(faults)}")
    network.load_state_dict({name: t.float() for name, t in tensors.items()})
