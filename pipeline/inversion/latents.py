"""``latents/METHOD.safetensors``: one latent code per photograph, with how well it gives the photograph back.

Tensors: ``w`` [N, num_ws, w_dim] float32, ``files`` (the rows' names as UTF-8 JSON, uint8), one [N] float32 per
measure under ``measure.NAME``, and where the projector's optimised noise was to be kept, one [N, R, R] float16 per
noise buffer of the generator under ``noise.NAME``. The metadata hold one key, ``latents``, with JSON: safetensors
writes several keys in no fixed order, which would break "same seed, same bytes".
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from atlas.errors import InputError
from atlas.files import sha256_bytes, write_bytes
from pipeline.photos.dataset import Photo

FORMAT = 1
_KEY, _MEASURE, _NOISE = "latents", "measure.", "noise."


@dataclass(frozen=True, eq=False)
class Latents:
    """Latent codes of photographs, in dataset order.

    Attributes:
        w: [N, num_ws, w_dim] float32.
        files: the photograph of each row, as the dataset names it.
        measures: per photograph, [N] float32 each: "l2", "perceptual", "ssim".
        metadata: JSON-able; how the codes were made.
        noise: the projector's optimised noise maps, [N, R, R] float16, by the name of their buffer; usually none.
            `pipeline.inversion.noise.synthesise` renders with them.
    """

    w: np.ndarray
    files: tuple[str, ...]
    measures: dict[str, np.ndarray] = field(default_factory=dict)
    metadata: Mapping[str, Any] = field(default_factory=dict)
    noise: dict[str, np.ndarray] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.files)

    @property
    def broadcast(self) -> bool:
        """Return whether every photograph has one w for all layers (the space W) and not one per layer (W+)."""
        return bool((self.w == self.w[:, :1]).all())

    def codes(self) -> np.ndarray:
        """Return the codes as vectors, float64: [N, w_dim] in W, [N, num_ws · w_dim] in W+."""
        chosen = self.w[:, 0] if self.broadcast else self.w.reshape(len(self.w), -1)
        return chosen.astype(np.float64)


def write_latents(path: str | Path, latents: Latents, metadata: Mapping[str, Any] | None = None) -> None:
    """Write latent codes, whole or not at all; the same codes always give the same bytes.

    Args:
        path: ``METHOD.safetensors``.
        latents: the codes.
        metadata: JSON-able facts on how they were made; ``latents.metadata`` if absent.

    Raises:
        ValueError: the number of rows, names and measures differ.
    """
    _check(latents, ValueError, "latents")
    names = np.frombuffer(json.dumps(latents.files, ensure_ascii=False).encode(), np.uint8)
    tensors: dict[str, np.ndarray] = {"w": np.ascontiguousarray(latents.w, np.float32), "files": names}
    tensors |= {_MEASURE + k: np.ascontiguousarray(v, np.float32) for k, v in latents.measures.items()}
    tensors |= {_NOISE + k: np.ascontiguousarray(v, np.float16) for k, v in latents.noise.items()}
    facts = {"format": FORMAT, **(latents.metadata if metadata is None else metadata)}
    write_bytes(Path(path), save(tensors, metadata={_KEY: json.dumps(facts, sort_keys=True, allow_nan=False)}))


def read_latents(path: str | Path) -> Latents:
    """Read latent codes.

    Raises:
        InputError: the file is absent, damaged or no latents, its rows do not fit each other, or a code is not finite.
    """
    try:
        with safe_open(path, framework="np") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            metadata = json.loads((file.metadata() or {}).get(_KEY, "{}"))
        files = tuple(json.loads(tensors["files"].tobytes()))
        w = tensors["w"]
    except FileNotFoundError as error:
        raise InputError(f"no latents at {path}: make them with `atlas invert`") from error
    except (SafetensorError, KeyError, ValueError) as error:
        raise InputError(
            f"{path} is not a whole file of latents ({error}): make it again with `atlas invert`"
        ) from error
    measures = {name.removeprefix(_MEASURE): t for name, t in tensors.items() if name.startswith(_MEASURE)}
    noise = {name.removeprefix(_NOISE): t for name, t in tensors.items() if name.startswith(_NOISE)}
    latents = Latents(w, files, measures, metadata, noise)
    _check(latents, InputError, str(path))
    if not np.isfinite(w).all():
        row = int(np.flatnonzero(~np.isfinite(w).all((1, 2)))[0])
        raise InputError(f"{path}: the latent code of {files[row]} is not finite: invert the photographs again")
    return latents


def latents_facts(path: Path) -> dict[str, Any]:
    """Return the metadata of a file of latents, without reading its codes.

    Raises:
        InputError: the file is absent, or no latents.
    """
    try:
        with safe_open(path, framework="np") as file:
            facts: dict[str, Any] = json.loads((file.metadata() or {}).get(_KEY, "{}"))
            return facts
    except FileNotFoundError as error:
        raise InputError(f"no latents at {path}: make them with `atlas invert`") from error
    except (SafetensorError, ValueError) as error:
        raise InputError(
            f"{path} is not a whole file of latents ({error}): make it again with `atlas invert`"
        ) from error


def rows_of(latents: Latents, files: Sequence[str], path: Path) -> list[int]:
    """Return the rows of photographs, in the order asked for.

    Args:
        latents: as read from ``path``.
        files: names of photographs in the dataset.
        path: for the message.

    Raises:
        InputError: a photograph is not among them.
    """
    place = {file: row for row, file in enumerate(latents.files)}
    missing = [file for file in files if file not in place]
    if missing:
        raise InputError(
            f"{path} has no latent code of {missing[0]} and {len(missing) - 1} more that are asked for: "
            "invert these photographs with that method too"
        )
    return [place[file] for file in files]


def require_made_from(latents: Latents, path: Path, **sha256s: str) -> None:
    """Refuse codes that were made from another dataset, generator or encoder: `require_facts` of their metadata."""
    require_facts(latents.metadata, path, **sha256s)


def require_facts(facts: Mapping[str, Any], path: Path, **sha256s: str) -> None:
    """Refuse the codes of a file whose metadata say that they were made from something else.

    Args:
        facts: the metadata, `latents_facts` of ``path``.
        path: for the message.
        sha256s: what they must say, by key: ``photographs_sha256`` (`dataset_fingerprint`), ``generator_sha256`` or
            ``encoder_sha256``. A key that the metadata lack is not compared: codes may come from elsewhere.

    Raises:
        InputError: one differs.
    """
    words = {
        "photographs_sha256": "other photographs than the dataset's",
        "generator_sha256": "another generator",
        "encoder_sha256": "another encoder",
    }
    for key, sha256 in sha256s.items():
        if facts.get(key, sha256) != sha256:
            raise InputError(f"the latent codes in {path} were made with {words[key]}: invert the photographs again")


def require_codes_for(latents: Latents, path: Path, num_ws: int, w_dim: int) -> None:
    """Refuse codes of another shape than a generator's.

    Raises:
        InputError: they are not [N, num_ws, w_dim].
    """
    if latents.w.shape[1:] != (num_ws, w_dim):
        raise InputError(
            f"the codes in {path} must be [{num_ws}, {w_dim}] as the generator's are, got {list(latents.w.shape[1:])}: "
            "invert the photographs with this generator"
        )


def dataset_fingerprint(photos: tuple[Photo, ...]) -> str:
    """Return what tells one dataset's photographs from another's, whose members have the same names."""
    rows = [[photo.file, photo.source, photo.source_id] for photo in photos]
    return sha256_bytes(json.dumps(rows, ensure_ascii=False).encode())


def _check(latents: Latents, error: type[Exception], name: str) -> None:
    if latents.w.ndim != 3:
        raise error(f"{name}: w must be [N, num_ws, w_dim], got {list(latents.w.shape)}")
    counts = {"w": len(latents.w), "files": len(latents.files)}
    counts |= {name: len(values) for name, values in (latents.measures | latents.noise).items()}
    if len(set(counts.values())) > 1:
        listing = ", ".join(f"{n} in {what}" for what, n in counts.items())
        raise error(f"{name}: rows must be as many everywhere, got {listing}")
