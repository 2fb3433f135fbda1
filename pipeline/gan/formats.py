"""Checkpoints of every kind as one thing: tensors by official names, and what the file says of the architecture.

A file holds networks of one or two kinds, "generator" and "discriminator"; each is translated when it is asked for.
A reader joins in `_READERS`; inference, checks and errors are shared (`pipeline.gan.checkpoint`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from safetensors import SafetensorError, safe_open
from torch import Tensor

from atlas.errors import InputError
from pipeline.gan import rosinality
from pipeline.gan.architecture import DiscriminatorArchitecture, GeneratorArchitecture
from pipeline.gan.initargs import discriminator_of, generator_of
from pipeline.gan.nvidia import PickledModule, read_nvidia

ARCHITECTURE_KEY = "architecture"
KINDS = ("generator", "discriminator")
Architecture = GeneratorArchitecture | DiscriminatorArchitecture


@dataclass(frozen=True)
class Checkpoint:
    """A network as read from a file.

    Attributes:
        tensors: by official names.
        architecture: what the file says it is; None where it says nothing.
        names: official name → name in the file, where they differ.
        faults: what is wrong with the file already.
        absent: endings of official names that this format has no tensors for; the network's own are right.
    """

    tensors: Mapping[str, Tensor]
    architecture: Architecture | None = None
    names: Mapping[str, str] = field(default_factory=dict)
    faults: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()


Networks = Mapping[str, Callable[[], Checkpoint]]


def open_checkpoint(path: Path) -> Networks:
    """Return the networks in a file by kind; calling one translates it.

    Raises:
        InputError: not there, damaged, of no known format, or it holds more than data (nothing in it was run).
    """
    if path.suffix not in _READERS:
        raise InputError(f"{path} is not a checkpoint that can be read: its name must end in {', '.join(_READERS)}")
    return _READERS[path.suffix](path)


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


def _safetensors_networks(path: Path) -> Networks:
    tensors, metadata = read_safetensors(path)
    text = metadata.get(ARCHITECTURE_KEY)

    def checkpoint(kind: type[Architecture]) -> Checkpoint:
        return Checkpoint(tensors, None if text is None else kind.from_json(text, path.name))

    if any(name.startswith("synthesis.") for name in tensors):
        return {"generator": partial(checkpoint, GeneratorArchitecture)}
    if any(re.match(r"b\d+\.", name) for name in tensors):
        return {"discriminator": partial(checkpoint, DiscriminatorArchitecture)}
    return {}


def _nvidia_networks(path: Path) -> Networks:
    found = read_nvidia(path)
    networks = {"generator": partial(_pickled, found["G_ema"], GeneratorArchitecture, path)}
    if "D" in found:
        networks["discriminator"] = partial(_pickled, found["D"], DiscriminatorArchitecture, path)
    return networks


def _pickled(module: PickledModule, kind: type[Architecture], path: Path) -> Checkpoint:
    state = module.state
    if state.get("_init_args"):
        raise InputError(f"{path} describes its networks by position, not by name, and cannot be read")
    described = generator_of if kind is GeneratorArchitecture else discriminator_of
    try:
        return Checkpoint(module.tensors(), described(state["_init_kwargs"], str(path)))
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} is damaged: its {module.class_name[:40]} is not built as it should be") from error


def _rosinality_networks(path: Path) -> Networks:
    parts = rosinality.read_rosinality(path)

    def generator() -> Checkpoint:
        found = rosinality.translate(parts["generator"], "generator", str(path))
        if "latent_avg" not in parts:
            return Checkpoint(found.tensors, None, found.names, found.faults, ("resample_filter", "w_avg"))
        tensors = found.tensors | {"mapping.w_avg": parts["latent_avg"]}
        names = found.names | {"mapping.w_avg": "latent_avg"}
        return Checkpoint(tensors, None, names, found.faults, ("resample_filter",))

    def discriminator() -> Checkpoint:
        found = rosinality.translate(parts["discriminator"], "discriminator", str(path))
        return Checkpoint(found.tensors, None, found.names, found.faults, ("resample_filter",))

    makers = {"generator": generator, "discriminator": discriminator}
    return {kind: make for kind, make in makers.items() if kind in parts}


_READERS: dict[str, Callable[[Path], Networks]] = {
    ".safetensors": _safetensors_networks,
    ".pkl": _nvidia_networks,
    ".pt": _rosinality_networks,
}
