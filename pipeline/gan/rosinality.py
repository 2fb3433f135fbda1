"""Checkpoints of rosinality's stylegan2-pytorch, and the same generator inside e4e, pSp and ReStyle files.

The networks are NVIDIA's under other names, some tensors with further axes of length 1. Nothing is flipped or scaled.
FIR kernels stand in the files as tensors; here they are checked against the filter [1, 3, 3, 1] and made anew.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from atlas.errors import InputError
from pipeline.gan.architecture import DiscriminatorArchitecture, GeneratorArchitecture, resolutions
from pipeline.gan.networks import RESAMPLE_TAPS, Discriminator, Generator
from pipeline.gan.ops import setup_filter
from pipeline.torchfile import read_torch_file

UP, DOWN = 4.0, 1.0  # sum of a kernel that upsamples and of one that downsamples


@dataclass(frozen=True)
class Entry:
    """One tensor of a rosinality network.

    Attributes:
        theirs: its name there.
        official: its name in the official network; None for a FIR kernel.
        ones: its axes of length 1 that the official one has not.
        gain: of a FIR kernel, the sum of its weights.
    """

    theirs: str
    official: str | None
    ones: tuple[int, ...] = ()
    gain: float = 0.0

    def fits(self, tensor: Tensor) -> bool:
        """Return whether the tensor has the further axes."""
        return all(axis < tensor.ndim and tensor.shape[axis] == 1 for axis in self.ones)

    def to_official(self, tensor: Tensor) -> Tensor:
        """Leave out the further axes of a tensor that has them."""
        return tensor.reshape([n for axis, n in enumerate(tensor.shape) if axis not in self.ones])

    def to_theirs(self, tensor: Tensor) -> Tensor:
        """Add the further axes."""
        for axis in self.ones:
            tensor = tensor.unsqueeze(axis)
        return tensor


def generator_entries(img_resolution: int, mapping_layers: int) -> Iterator[Entry]:
    """Yield every tensor of a generator, in the order of its file."""
    for i in range(mapping_layers):
        for kind in ("weight", "bias"):
            yield Entry(f"style.{i + 1}.{kind}", f"mapping.fc{i}.{kind}")
    yield Entry("input.input", "synthesis.b4.const", (0,))
    yield from _styled("conv1", "synthesis.b4.conv1")
    yield from _to_rgb("to_rgb1", "synthesis.b4.torgb")
    above = resolutions(img_resolution)[1:]
    for k, r in enumerate(above):
        yield from _styled(f"convs.{2 * k}", f"synthesis.b{r}.conv0", upsamples=True)
        yield from _styled(f"convs.{2 * k + 1}", f"synthesis.b{r}.conv1")
    for k, r in enumerate(above):
        yield from _to_rgb(f"to_rgbs.{k}", f"synthesis.b{r}.torgb", upsamples=True)
    layers = ["b4.conv1", *(f"b{r}.conv{i}" for r in above for i in (0, 1))]
    for k, layer in enumerate(layers):
        yield Entry(f"noises.noise_{k}", f"synthesis.{layer}.noise_const", (0, 1))


def _styled(theirs: str, official: str, upsamples: bool = False) -> Iterator[Entry]:
    yield Entry(f"{theirs}.conv.weight", f"{official}.weight", (0,))
    if upsamples:
        yield Entry(f"{theirs}.conv.blur.kernel", None, gain=UP)
    yield from _modulation(theirs, official)
    yield Entry(f"{theirs}.noise.weight", f"{official}.noise_strength", (0,))
    yield Entry(f"{theirs}.activate.bias", f"{official}.bias")


def _to_rgb(theirs: str, official: str, upsamples: bool = False) -> Iterator[Entry]:
    yield Entry(f"{theirs}.bias", f"{official}.bias", (0, 2, 3))
    if upsamples:
        yield Entry(f"{theirs}.upsample.kernel", None, gain=UP)
    yield Entry(f"{theirs}.conv.weight", f"{official}.weight", (0,))
    yield from _modulation(theirs, official)


def _modulation(theirs: str, official: str) -> Iterator[Entry]:
    for kind in ("weight", "bias"):
        yield Entry(f"{theirs}.conv.modulation.{kind}", f"{official}.affine.{kind}")


def discriminator_entries(img_resolution: int) -> Iterator[Entry]:
    """Yield every tensor of a discriminator, in the order of its file."""
    yield Entry("convs.0.0.weight", f"b{img_resolution}.fromrgb.weight")
    yield Entry("convs.0.1.bias", f"b{img_resolution}.fromrgb.bias")
    for k, r in enumerate(reversed(resolutions(img_resolution)[1:]), 1):
        yield Entry(f"convs.{k}.conv1.0.weight", f"b{r}.conv0.weight")
        yield Entry(f"convs.{k}.conv1.1.bias", f"b{r}.conv0.bias")
        yield Entry(f"convs.{k}.conv2.0.kernel", None, gain=DOWN)
        yield Entry(f"convs.{k}.conv2.1.weight", f"b{r}.conv1.weight")
        yield Entry(f"convs.{k}.conv2.2.bias", f"b{r}.conv1.bias")
        yield Entry(f"convs.{k}.skip.0.kernel", None, gain=DOWN)
        yield Entry(f"convs.{k}.skip.1.weight", f"b{r}.skip.weight")
    yield Entry("final_conv.0.weight", "b4.conv.weight")
    yield Entry("final_conv.1.bias", "b4.conv.bias")
    for i, layer in enumerate(("fc", "out")):
        for kind in ("weight", "bias"):
            yield Entry(f"final_linear.{i}.{kind}", f"b4.{layer}.{kind}")


@dataclass(frozen=True)
class Translated:
    """A rosinality network by official names.

    Attributes:
        tensors: by official name; what has no place there keeps its own name.
        names: official name → name in the file, of all tensors the network should have.
        faults: FIR kernels that are missing or not those of StyleGAN2, and tensors without the axes they have there.
    """

    tensors: dict[str, Tensor]
    names: dict[str, str]
    faults: tuple[str, ...]


def translate(theirs: Mapping[str, Tensor], kind: str, file: str) -> Translated:
    """Bring a state by rosinality's names to the official ones; nothing is lost, so that a check can list all.

    Args:
        theirs: tensors by name.
        kind: "generator" or "discriminator".
        file: for errors.

    Raises:
        InputError: these are not the tensors of such a network at all.
    """
    entries = list(_entries(theirs, kind, file))
    rest = dict(theirs)
    tensors: dict[str, Tensor] = {}
    faults = []
    for entry in entries:
        tensor = rest.pop(entry.theirs, None)
        if entry.official is None:
            if tensor is None:
                faults.append(f"{entry.theirs} is missing")
            elif not _is_kernel(tensor, entry.gain):
                faults.append(f"{entry.theirs} must be the filter of {RESAMPLE_TAPS} with gain {entry.gain:.0f}")
        elif tensor is not None and not entry.fits(tensor):
            faults.append(f"{entry.theirs} must have length 1 in axes {list(entry.ones)}, got {list(tensor.shape)}")
            tensors[entry.official] = tensor
        elif tensor is not None:
            tensors[entry.official] = entry.to_official(tensor)
    return Translated(tensors | rest, {e.official: e.theirs for e in entries if e.official}, tuple(faults))


def _entries(theirs: Mapping[str, Tensor], kind: str, file: str) -> Iterator[Entry]:
    pattern = r"to_rgbs\.(\d+)\.conv\.weight" if kind == "generator" else r"convs\.([1-9]\d*)\.skip\.1\.weight"
    found = [int(m.group(1)) for m in (re.fullmatch(pattern, name) for name in theirs) if m]
    if not found or max(found) > 12:
        raise InputError(f"{file} does not hold a {kind} by the names of rosinality's stylegan2-pytorch")
    if kind == "generator":
        layers = sum(1 for name in theirs if re.fullmatch(r"style\.\d+\.weight", name))
        return generator_entries(8 << max(found), layers)
    return discriminator_entries(4 << max(found))


def kernel(gain: float) -> Tensor:
    """Return the FIR kernel as rosinality keeps it, [4, 4] float32 with sum ``gain``."""
    return setup_filter(RESAMPLE_TAPS) * gain


def _is_kernel(tensor: Tensor, gain: float) -> bool:
    expected = kernel(gain)
    return tensor.shape == expected.shape and torch.allclose(tensor.float(), expected, atol=1e-4)


def read_rosinality(path: Path) -> dict[str, Any]:
    """Read a ``.pt`` of rosinality's stylegan2-pytorch, or of e4e, pSp or ReStyle, whose generator is their decoder.

    Returns:
        "generator" and "discriminator", where it has them: tensors by rosinality's names; and "latent_avg" [D] where
        it has one.

    Raises:
        InputError: not there, damaged, it holds more than data, or none of those networks.
    """
    found = read_torch_file(path)
    parts: dict[str, Any] = {}
    if "state_dict" in found:
        prefix = "decoder."
        state = _state(found["state_dict"], "state_dict", path)
        parts["generator"] = {n.removeprefix(prefix): t for n, t in state.items() if n.startswith(prefix)}
    elif "g_ema" in found:
        parts["generator"] = _state(found["g_ema"], "g_ema", path)
    if "d" in found:
        parts["discriminator"] = _state(found["d"], "d", path)
    if not parts.get("generator") and "discriminator" not in parts:
        raise InputError(f"{path} holds no network: it must have g_ema, d, or a state_dict with decoder.* tensors")
    if found.get("latent_avg") is not None:
        parts["latent_avg"] = _mean_latent(found["latent_avg"], path)
    return parts


def _state(value: Any, name: str, path: Path) -> dict[str, Tensor]:
    named = isinstance(value, dict) and all(isinstance(n, str) and isinstance(t, Tensor) for n, t in value.items())
    if not named:
        raise InputError(f"{path}: {name} must hold named tensors only")
    return value


def _mean_latent(value: Any, path: Path) -> Tensor:
    """Return the mean latent, [D]; e4e repeats it for every layer, [L, D]."""
    if not isinstance(value, Tensor) or value.ndim not in (1, 2) or value.numel() == 0:
        raise InputError(f"{path}: latent_avg must be a tensor of one or two axes")
    if value.ndim == 1:
        return value
    if not torch.allclose(value, value[:1].expand_as(value), atol=1e-5):
        raise InputError(f"{path}: latent_avg must be the same for every layer, as a mean of w is")
    return value[0]


def rosinality_state(network: Generator | Discriminator) -> dict[str, Tensor]:
    """Return a network's tensors by rosinality's names, float32.

    Raises:
        InputError: the network has what rosinality's has not: a condition, a z of another size than w, images that
            are not RGB, other groups of the minibatch deviation.
    """
    arch = network.architecture
    _refuse_unknown(arch)
    if isinstance(arch, GeneratorArchitecture):
        entries = generator_entries(arch.img_resolution, arch.mapping_layers)
    else:
        entries = discriminator_entries(arch.img_resolution)
    own = {name: t.detach().cpu().float() for name, t in network.state_dict().items()}
    return {
        e.theirs: kernel(e.gain) if e.official is None else e.to_theirs(own[e.official]).contiguous() for e in entries
    }


def _refuse_unknown(arch: GeneratorArchitecture | DiscriminatorArchitecture) -> None:
    faults = []
    if arch.c_dim:
        faults.append(f"a condition (c_dim {arch.c_dim})")
    if arch.img_channels != 3:
        faults.append(f"{arch.img_channels} image channels")
    if arch.img_resolution < 8:
        faults.append(f"a resolution of {arch.img_resolution}")
    if isinstance(arch, GeneratorArchitecture):
        if arch.z_dim != arch.w_dim:
            faults.append(f"z_dim {arch.z_dim} beside w_dim {arch.w_dim}")
    elif (arch.mbstd_group, arch.mbstd_channels) != (4, 1):
        faults.append(f"groups of {arch.mbstd_group} in the minibatch deviation")
    if faults:
        raise InputError(f"rosinality's format has no place for {' and '.join(faults)}: write .safetensors instead")
