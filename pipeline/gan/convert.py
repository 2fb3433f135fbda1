"""Checkpoints from one format to another, through the network itself, so that what is written is what was checked."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from atlas.errors import InputError
from atlas.files import require_space
from pipeline.gan.architecture import DiscriminatorArchitecture, GeneratorArchitecture, channel_widths
from pipeline.gan.checkpoint import read_network, save_network, save_rosinality

DTYPES = {"float32": torch.float32, "float16": torch.float16}
ROSINALITY_MULTIPLIERS = {1: 16384, 2: 32768}  # its channel_multiplier → the official channel_base; channel_max 512
Architecture = GeneratorArchitecture | DiscriminatorArchitecture


@dataclass(frozen=True)
class Conversion:
    """What was read and written.

    Attributes:
        kind: "generator" or "discriminator".
        architecture: of the network.
        tensors: how many were written.
        bytes: length of the file written.
        notes: what a user should know, a sentence each.
    """

    kind: str
    architecture: Architecture
    tensors: int
    bytes: int
    notes: tuple[str, ...]


def convert(source: Path, target: Path, kind: str | None = None, dtype: str = "float32") -> Conversion:
    """Read a network from a checkpoint and write it in the format that the target's name asks for.

    Args:
        source: any file that `load_generator` or `load_discriminator` reads.
        target: ``.safetensors``, or ``.pt`` for rosinality's stylegan2-pytorch.
        kind: "generator" or "discriminator"; None for the generator, or else for what there is.
        dtype: of a ``.safetensors`` target, "float32" or "float16".

    Raises:
        InputError: the source cannot be read, the target's format is unknown or has no place for the network, or both
            are the same file.
        SpaceError: the disk is too full.
    """
    if target.suffix not in (".safetensors", ".pt"):
        raise InputError(f"{target} cannot be written: its name must end in .safetensors or .pt (rosinality's)")
    if target.suffix == ".pt" and dtype != "float32":
        raise InputError(f"{target} is written as float32 only: {dtype} is for .safetensors")
    if target.exists() and target.samefile(source):
        raise InputError(f"{target} is the file that is read: write to another")
    network, notes = read_network(source, kind)
    size = sum(t.numel() for t in network.state_dict().values()) * DTYPES[dtype].itemsize
    require_space(target.parent, size + (1 << 20), "the converted network")
    if target.suffix == ".pt":
        save_rosinality(network, target)
        notes += _rosinality_notes(network.architecture)
    else:
        save_network(network, target, DTYPES[dtype])
    return Conversion(
        kind="generator" if isinstance(network.architecture, GeneratorArchitecture) else "discriminator",
        architecture=network.architecture,
        tensors=len(network.state_dict()),
        bytes=target.stat().st_size,
        notes=notes,
    )


def describe(architecture: Architecture) -> str:
    """Return an architecture in a few words."""
    parts = [f"{architecture.img_resolution} px"]
    if isinstance(architecture, GeneratorArchitecture):
        parts += [f"z {architecture.z_dim}", f"w {architecture.num_ws} × {architecture.w_dim}"]
        parts += [f"{architecture.mapping_layers} mapping layers"]
    parts += [f"{max(architecture.channels)} to {architecture.channels[-1]} channels"]
    if architecture.c_dim:
        parts += [f"condition {architecture.c_dim}"]
    return ", ".join(parts)


def _rosinality_notes(architecture: Architecture) -> tuple[str, ...]:
    notes = []
    if architecture.conv_clamp:
        notes.append(
            f"activations are kept within ±{architecture.conv_clamp:.0f} in the source and not in the target, whose "
            "format has no place for it"
        )
    bases = {m: channel_widths(architecture.img_resolution, b, 512) for m, b in ROSINALITY_MULTIPLIERS.items()}
    fitting = [m for m, widths in bases.items() if widths == architecture.channels]
    if fitting:
        notes.append(f"in rosinality's code, make the network with channel_multiplier={fitting[-1]}")
    else:
        notes.append("no channel_multiplier of rosinality's code makes a network of these widths")
    return tuple(notes)
