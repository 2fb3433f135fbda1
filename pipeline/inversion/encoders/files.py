"""Encoders as files: ours, ``METHOD.safetensors``, and the published ``.pt`` of e4e and ReStyle, read as data.

Ours hold the network's tensors as ``encoder.NAME`` by the published names, ``latent_avg`` [num_ws, w_dim], and one
metadata key, ``encoder``, with JSON: the architecture, how it was trained, and where progressive training did not come
to its last stage, the ``stage`` that it reached.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from atlas.errors import InputError
from atlas.files import atomic_path
from pipeline.gan import Generator, load_generator
from pipeline.gan.checkpoint import check_device
from pipeline.gan.formats import read_safetensors
from pipeline.inversion.encoders.architecture import ITERATIONS, EncoderArchitecture
from pipeline.inversion.encoders.encoder import Encoder, check_generator
from pipeline.torchfile import read_torch_file

FORMAT = 1
METADATA_KEY = "encoder"
_PREFIX = "encoder."
# The published classes, and whether their styles are differences from the first.
_PUBLISHED = {
    "Encoder4Editing": True,
    "BackboneEncoder": False,
    "ResNetBackboneEncoder": False,
    "ProgressiveBackboneEncoder": True,
    "ResNetProgressiveBackboneEncoder": True,
}


@dataclass(frozen=True)
class _Read:
    """A file's content: architecture, the network's tensors by bare names, mean code (None: to be estimated), stage."""

    architecture: EncoderArchitecture
    tensors: Mapping[str, Tensor]
    latent_avg: Tensor | None
    stage: int


def load_encoder(path: str | Path, device: str = "cpu", generator: Generator | None = None) -> Encoder:
    """Load an encoder for use: evaluation mode, no gradients.

    Args:
        path: our ``.safetensors``, or a published e4e or ReStyle ``.pt``; nothing in either is executed.
        device: where it shall run.
        generator: what the codes are for. ReStyle needs it; a published file brings its own, which is used where none
            is given. Where a published file has no mean code it is the generator's, estimated from seeded latents if
            that has none either.

    Raises:
        InputError: not readable, not an encoder, a tensor missing, unexpected or of another shape (all are listed), the
            generator absent or of other codes, or no such device.

    Example:
        >>> E = load_encoder("restyle.safetensors", generator=load_generator("generator.safetensors"))
        >>> w = E(images)   # [N, 3, H, H] in [-1, 1] → [N, num_ws, w_dim]
    """
    path = Path(path)
    check_device(device)
    found = _read_published(path) if path.suffix == ".pt" else _read_own(path)
    arch = found.architecture
    if generator is None and (arch.method == "restyle" or found.latent_avg is None):
        if path.suffix != ".pt":
            raise InputError(
                f"{path} is a ReStyle encoder, which looks at its own reconstructions: give its generator too, "
                "load_encoder(path, generator=…)"
            )
        generator = load_generator(path, device)
    if generator is not None:
        check_generator(arch, generator, str(path))
    average = found.latent_avg
    if average is None:
        assert generator is not None  # given, or the file's own
        average = generator.mapping.w_avg
    if tuple(average.shape) not in {(arch.w_dim,), (arch.num_ws, arch.w_dim)}:
        raise InputError(
            f"{path}: latent_avg must be [{arch.num_ws}, {arch.w_dim}] or [{arch.w_dim}], got {list(average.shape)}"
        )
    encoder = Encoder(arch, average, generator)
    _fill(encoder, found.tensors, path)
    encoder.stage = found.stage
    return encoder.eval().requires_grad_(False).to(device)


def load_encoder_of(method: str, path: Path, generator: Generator, device: str = "cpu") -> Encoder:
    """Load an encoder that must be of one method, "e4e" or "restyle".

    Raises:
        InputError: it is of the other; or see `load_encoder`.
    """
    encoder = load_encoder(path, device=device, generator=generator)
    if encoder.architecture.method != method:
        raise InputError(
            f"{path} is an encoder of {encoder.architecture.method} and not of {method}: say which is meant"
        )
    return encoder


def save_encoder(
    encoder: Encoder, path: str | Path, facts: Mapping[str, Any] | None = None, *, half: bool = False
) -> None:
    """Write an encoder, whole or not at all; the same encoder always gives the same bytes.

    Args:
        encoder: to write; its generator is no part of the file.
        path: ``METHOD.safetensors``.
        facts: JSON-able; how it was trained.
        half: write weights of two and more axes as float16, half the size; norms, biases and the mean code stay
            float32. Loaded again they compute in float32.
    """
    tensors = {_PREFIX + name: t.detach().cpu().contiguous() for name, t in encoder.network.state_dict().items()}
    if half:
        tensors = {n: t.half() if t.ndim > 1 and t.is_floating_point() else t for n, t in tensors.items()}
    tensors["latent_avg"] = encoder.latent_avg.detach().cpu().contiguous()
    table = {"format": FORMAT, "architecture": encoder.architecture.to_dict(), **(facts or {})}
    if encoder.stage < encoder.architecture.last_stage:
        table["stage"] = encoder.stage
    with atomic_path(Path(path)) as temporary:
        save_file(tensors, temporary, metadata={METADATA_KEY: json.dumps(table, sort_keys=True, allow_nan=False)})


def read_facts(path: Path) -> dict[str, Any]:
    """Return what one of our files says of itself: "format", "architecture", and the facts given to `save_encoder`.

    Raises:
        InputError: the file is damaged, or no encoder.
    """
    return _facts(read_safetensors(path)[1], path)


def _read_own(path: Path) -> _Read:
    if path.suffix != ".safetensors":
        raise InputError(f"{path} is not an encoder that can be read: its name must end in .safetensors or .pt")
    tensors, metadata = read_safetensors(path)
    facts = _facts(metadata, path)
    arch = EncoderArchitecture.from_dict(facts["architecture"], str(path))
    stage = facts.get("stage", arch.last_stage)
    if not isinstance(stage, int) or not 0 <= stage <= arch.last_stage:
        raise InputError(f"{path}: stage must be 0 … {arch.last_stage}, got {stage!r}; train the encoder again")
    if "latent_avg" not in tensors:
        raise InputError(f"{path} is damaged: latent_avg is missing; train the encoder again")
    return _Read(arch, _bare(tensors), tensors["latent_avg"], stage)


def _facts(metadata: Mapping[str, str], path: Path) -> dict[str, Any]:
    try:
        facts: dict[str, Any] = json.loads(metadata[METADATA_KEY])
        if facts["format"] != FORMAT:
            raise InputError(f"{path} has format {facts['format']}; this version reads format {FORMAT} only")
        facts["architecture"]
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path} is not an encoder: its metadata do not describe one ({error!r})") from error
    return facts


def _read_published(path: Path) -> _Read:
    content = read_torch_file(path)
    tensors, options = content.get("state_dict"), content.get("opts")
    if not isinstance(tensors, Mapping) or not isinstance(options, Mapping):
        raise InputError(f"{path} is not a published e4e or ReStyle file: it must hold state_dict and opts")
    encoder = _bare({name: t for name, t in tensors.items() if isinstance(t, Tensor)})
    kind = options.get("encoder_type")
    if not isinstance(kind, str) or kind not in _PUBLISHED:
        raise InputError(f"{path}: encoder_type must be one of {', '.join(_PUBLISHED)}, got {kind!r}")
    iterations = options.get("n_iters_per_batch", ITERATIONS)
    if not isinstance(iterations, int) or isinstance(iterations, bool) or iterations < 1:
        raise InputError(f"{path}: n_iters_per_batch must be a whole number from 1 up, got {iterations!r}")
    shapes = {name: tuple(t.shape) for name, t in encoder.items()}
    arch = EncoderArchitecture.infer(shapes, _PUBLISHED[kind], iterations, str(path))
    average = content.get("latent_avg")
    if not isinstance(average, Tensor):
        relative = arch.method == "restyle" or options.get("start_from_latent_avg")
        average = None if relative else torch.zeros(arch.w_dim)
    return _Read(arch, encoder, average, arch.last_stage)


def _bare(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(_PREFIX): t for name, t in tensors.items() if name.startswith(_PREFIX)}


def _fill(encoder: Encoder, tensors: Mapping[str, Tensor], path: Path) -> None:
    own = encoder.network.state_dict()
    faults = [f"{name} is missing" for name in own if name not in tensors]
    faults += [f"{name} is unexpected" for name in tensors if name not in own]
    faults += [
        f"{name} must be {list(own[name].shape)}, got {list(t.shape)}"
        for name, t in tensors.items()
        if name in own and own[name].shape != t.shape
    ]
    faults += [f"{name} is not finite" for name, t in tensors.items() if not bool(t.isfinite().all())]
    if faults:
        raise InputError(f"{path} does not fit its network: {'; '.join(faults)}")
    encoder.network.load_state_dict({name: t.to(own[name].dtype) for name, t in tensors.items()})
