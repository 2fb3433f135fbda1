"""Networks as files: read from every format there is, written as safetensors or rosinality's ``.pt``.

Ours is safetensors by the official tensor names, the architecture as JSON in the metadata. Whatever the format, the
architecture is inferred from the tensors' shapes, held against what the file says of itself, and every tensor must
have its place.
"""

from __future__ import annotations

import dataclasses
import io
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from atlas.errors import InputError
from atlas.files import atomic_path, write_bytes
from pipeline.gan.architecture import DiscriminatorArchitecture, GeneratorArchitecture
from pipeline.gan.formats import ARCHITECTURE_KEY, Architecture, Checkpoint, open_checkpoint
from pipeline.gan.networks import (
    RESAMPLE_TAPS,
    Discriminator,
    DiscriminatorBlock,
    Generator,
    MappingNetwork,
    SynthesisBlock,
)
from pipeline.gan.ops import setup_filter
from pipeline.gan.rosinality import rosinality_state

REDUCED_RESOLUTIONS = 4  # as in the official networks, so many of the highest resolutions leave float32
PRECISIONS = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16, "fp64": torch.float64}
UNTOLD = ("conv_clamp", "mbstd_group")  # of an architecture, what leaves no trace in tensors
MEAN_SAMPLES = 10_000  # latents whose w are averaged where a file has no mean w

Network = Generator | Discriminator


def load_generator(path: str | Path, device: str = "cpu", precision: str = "fp32") -> Generator:
    """Load a generator for use: evaluation mode, no gradients. No code in the file is ever run.

    Args:
        path: a ``.safetensors`` file (bare official tensor names are enough), NVIDIA's ``.pkl`` of
            stylegan2-ada-pytorch (its G_ema), or a ``.pt`` of rosinality's stylegan2-pytorch (its g_ema), e4e, pSp
            or ReStyle (their decoder). A ``.pt`` without a mean latent gets one from 10,000 seeded latents.
        device: where it shall run, such as "cpu" or "cuda".
        precision: of the synthesis network: "fp32", "bf16" or "fp16" (GPU only), where mapping stays float32; "fp64"
            is for checks, and the whole network's. A processor without bfloat16 computes "bf16" in float32 (see
            `set_precision`): the network's ``precision`` says what it is in the end.

    Raises:
        InputError: not readable, not a generator, a tensor missing, unexpected or of another shape (all are listed),
            the file's description contradicts its tensors, it holds more than data, or the device or precision does
            not exist.
    """
    check_device(device, precision)
    network, _ = read_network(Path(path), "generator")
    assert isinstance(network, Generator)
    set_precision(network, precision, device)
    return network.to(device)


def load_discriminator(path: str | Path, device: str = "cpu", precision: str = "fp32") -> Discriminator:
    """Load a discriminator for use: evaluation mode, no gradients.

    From a ``.pkl`` its D is read, from rosinality's ``.pt`` its d. Arguments and errors as in `load_generator`.
    """
    check_device(device, precision)
    network, _ = read_network(Path(path), "discriminator")
    assert isinstance(network, Discriminator)
    set_precision(network, precision, device)
    return network.to(device)


def read_network(path: Path, kind: str | None = None) -> tuple[Network, tuple[str, ...]]:
    """Read one network as float32 on the CPU, in evaluation mode, without gradients.

    Args:
        path: see `load_generator`.
        kind: "generator" or "discriminator"; None for the generator, or else for what there is.

    Returns:
        The network, and what a user should know of how it was read, a sentence each.

    Raises:
        InputError: see `load_generator`.
    """
    networks = open_checkpoint(path)
    kind = kind or next(iter(networks), "generator")
    if kind not in networks:
        there = f"it holds a {' and a '.join(networks)}" if networks else "it holds none that is known"
        raise InputError(f"{path} does not hold the network that was asked for, a {kind}: {there}")
    found = networks[kind]()
    if sum(t.numel() * t.element_size() for t in found.tensors.values()) > path.stat().st_size:
        raise InputError(f"{path} claims more numbers than it holds, and is not read")
    architecture = _architecture(found, _ARCHITECTURES[kind], path)
    _check_fit(architecture, found, path)  # before any memory is taken for the network
    with torch.random.fork_rng(devices=[]):  # the weights that it is made with are not kept
        network = _network(architecture).eval().requires_grad_(False)
    network.load_state_dict(network.state_dict() | {name: t.float() for name, t in found.tensors.items()})
    notes = []
    if isinstance(network, Generator) and "w_avg" in found.absent:
        network.mapping.w_avg.copy_(_mean_w(network.mapping))
        notes.append(f"it has no mean w: estimated from {MEAN_SAMPLES:,} seeded latents")
    return network, tuple(notes)


def save_network(network: Network, path: str | Path, dtype: torch.dtype | None = None) -> None:
    """Write a network's tensors as safetensors with its architecture in the metadata, whole or not at all.

    Args:
        network: a generator or discriminator.
        path: of the file.
        dtype: of the tensors in the file; None leaves them as they are.

    Raises:
        InputError: a number is too large for float16.
    """
    tensors = {name: t.detach().cpu().to(dtype or t.dtype).contiguous() for name, t in network.state_dict().items()}
    large = [name for name, t in tensors.items() if t.dtype == torch.float16 and not t.isfinite().all()]
    if large:
        raise InputError(f"float16 cannot hold the numbers of {', '.join(large)}: write float32")
    with atomic_path(Path(path)) as temporary:
        save_file(tensors, temporary, metadata={ARCHITECTURE_KEY: network.architecture.to_json()})


def save_rosinality(network: Network, path: str | Path) -> None:
    """Write a network as rosinality's ``.pt``, whole or not at all: ``g_ema`` and ``latent_avg``, or ``d``.

    Raises:
        InputError: that format has no place for such a network.
    """
    state = rosinality_state(network)
    if isinstance(network, Generator):
        content = {"g_ema": state, "latent_avg": network.mapping.w_avg.detach().cpu().float()}
    else:
        content = {"d": state}
    buffer = io.BytesIO()  # given a path, torch.save would write its name into the file
    torch.save(content, buffer)
    write_bytes(Path(path), buffer.getvalue())


def set_precision(network: Network, precision: str, device: str = "cpu") -> None:
    """Let the blocks of the highest resolutions compute in another precision; weights stay as they are.

    A processor without bfloat16 instructions would emulate them at a tenth of the speed: there "bf16" computes in
    float32, which is faster and more exact. "fp64", for checks, makes the whole network float64. What was chosen in the
    end is the network's ``precision``.
    """
    if precision == "bf16" and not bf16_is_native(device):
        precision = "fp32"
    network.precision = precision
    if precision == "fp64":
        network.double()
    for block in network.modules():
        if isinstance(block, SynthesisBlock | DiscriminatorBlock):
            reduced = block.resolution > network.img_resolution >> REDUCED_RESOLUTIONS
            block.dtype = PRECISIONS[precision] if reduced else None


def bf16_is_native(device: str) -> bool:
    """Return whether bfloat16 convolutions are faster than emulated ones on this device."""
    return torch.device(device).type != "cpu" or bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def check_device(device: str, precision: str = "fp32") -> None:
    """Refuse a device that is not there, and a precision that does not exist on it.

    Where a GPU is chosen, float32 is float32 from then on in this process: PyTorch would let convolutions round their
    inputs to the 10 bits of TF32. (The official program switches that off too.)

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
    if kind == "cuda":
        torch.backends.cudnn.allow_tf32 = False
        torch.backends.cuda.matmul.allow_tf32 = False


_ARCHITECTURES: dict[str, type[Architecture]] = {
    "generator": GeneratorArchitecture,
    "discriminator": DiscriminatorArchitecture,
}


def _architecture(found: Checkpoint, kind: type[Architecture], path: Path) -> Architecture:
    """Return the architecture that the tensors have, which must be what the file says of itself, if it says anything.

    Raises:
        InputError: there is no such network, or the tensors are not those of the one described: all of them are listed.
    """
    shapes, told = {name: tuple(t.shape) for name, t in found.tensors.items()}, found.architecture
    if told is None:
        return kind.infer(shapes, path.name).check(str(path))
    told.check(str(path))
    try:
        inferred = kind.infer(shapes, path.name)
    except InputError:  # a tensor is missing that the rest is inferred from; which else are, the description knows
        if told.layers <= len(shapes):
            _check_fit(told, found, path)
        raise
    untold = {name: getattr(told, name) for name in UNTOLD if hasattr(told, name)}
    difference = told.differences(dataclasses.replace(inferred, **untold))
    if difference:
        faults = _faults(told, found) if told.layers <= len(shapes) else []
        listed = "".join(f"; {fault}" for fault in faults)
        raise InputError(f"{path}: its description contradicts its tensors: {difference}{listed}")
    return told


def _network(architecture: Architecture) -> Network:
    if isinstance(architecture, GeneratorArchitecture):
        return Generator(architecture)
    return Discriminator(architecture)


def _check_fit(architecture: Architecture, found: Checkpoint, path: Path) -> None:
    """Hold a checkpoint against an architecture; every name and shape must match.

    Raises:
        InputError: lists all that is missing, unexpected or of another shape, by the file's own names.
    """
    faults = _faults(architecture, found)
    if faults:
        raise InputError(f"{path} does not fit its network: {'; '.join(faults)}")


def _faults(architecture: Architecture, found: Checkpoint) -> list[str]:
    with torch.device("meta"):
        own = _network(architecture).state_dict()
    tensors, called = found.tensors, found.names
    faults = list(found.faults)
    faults += [
        f"{called.get(name, name)} is missing"
        for name in own
        if name not in tensors and not name.endswith(found.absent)
    ]
    faults += [f"{name[:80]} is unexpected" for name in tensors if name not in own]
    faults += [
        f"{called.get(name, name)} must be {list(own[name].shape)}, got {list(t.shape)}"
        for name, t in tensors.items()
        if name in own and own[name].shape != t.shape
    ]
    taps = setup_filter(RESAMPLE_TAPS)
    faults += [
        f"{name} must be the filter of {RESAMPLE_TAPS}"
        for name, t in tensors.items()
        if name.endswith("resample_filter") and t.shape == taps.shape and not torch.allclose(t.float(), taps)
    ]
    return faults


def _mean_w(mapping: MappingNetwork) -> Tensor:
    """Return the mean w of seeded latents, [w_dim]."""
    z = torch.randn(MEAN_SAMPLES, mapping.z_dim, generator=torch.Generator().manual_seed(0))
    return mapping(z)[:, 0].mean(dim=0)
