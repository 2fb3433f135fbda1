"""Inverting a whole dataset batch by batch, so that a killed run keeps every batch that was finished."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from atlas.errors import InputError
from atlas.faults import fault_point
from atlas.files import PARTIAL_SUFFIX, remove_partials, require_space, sha256_bytes
from atlas.progress import Progress, silent
from pipeline.features import load_perceptual
from pipeline.gan import Generator
from pipeline.inversion.latents import Latents, read_latents, write_latents
from pipeline.inversion.measures import MEASURES, measure
from pipeline.inversion.projector import Projector, w_statistics
from pipeline.photos.dataset import Dataset

_BASELINE = "baseline."


@dataclass(frozen=True)
class Job:
    """What is to be inverted, and how.

    Attributes:
        dataset: the photographs.
        indices: which of them, ascending.
        batch: how many at once.
        facts: JSON-able; all that decides the codes, written beside them. A batch that a killed run left is used
            only if its facts are the same.
    """

    dataset: Dataset
    indices: np.ndarray
    batch: int
    facts: Mapping[str, Any]

    @property
    def key(self) -> str:
        """Return a digest of all that decides the codes."""
        parts = {**self.facts, "batch": self.batch, "indices": self.indices.tolist()}
        return sha256_bytes(json.dumps(parts, sort_keys=True).encode())

    def batches(self) -> list[np.ndarray]:
        """Return the indices of each batch."""
        return [self.indices[start : start + self.batch] for start in range(0, len(self.indices), self.batch)]


def invert_dataset(
    generator: Generator, projector: Projector, job: Job, out: Path, *, resume: bool, progress: Progress = silent
) -> None:
    """Invert photographs and write ``out``; finished batches lie in ``STEM.parts`` until all are done.

    Args:
        generator: in eval mode.
        projector: finds the codes.
        job: what to invert.
        out: ``METHOD.safetensors``.
        resume: keep the batches that a killed run of the same job finished.
        progress: told of the optimiser's steps, over all batches.

    Raises:
        InputError: the photographs' size is not the generator's, or a code came out not finite.
        SpaceError: the disk cannot hold the codes.
    """
    parts = out.with_name(f"{out.stem}.parts")
    if not resume:
        out.unlink(missing_ok=True)
        shutil.rmtree(parts, ignore_errors=True)
    if _found(out, job) is None:
        require_space(out.parent, 2 * 4 * len(job.indices) * generator.num_ws * generator.w_dim, "the latent codes")
        _remove_leftovers(out, parts)
        done = _invert_batches(generator, projector, job, parts, progress)
        write_latents(out, _joined(done, job))
    fault_point("invert.joined")
    shutil.rmtree(parts, ignore_errors=True)


def _invert_batches(
    generator: Generator, projector: Projector, job: Job, parts: Path, progress: Progress
) -> list[Latents]:
    device = next(generator.synthesis.parameters()).device
    features = load_perceptual(device)
    steps, batches = projector.settings.steps, job.batches()
    mean = w_statistics(generator, projector.settings.w_samples).mean.expand(1, generator.num_ws, -1)
    done: list[Latents] = []
    for number, indices in enumerate(batches):
        path = parts / f"{number:05d}.safetensors"
        found = _found(path, job)
        if found is None:
            images = to_images(job.dataset, indices, device)
            files = [job.dataset.files[i] for i in indices]
            # The source's name and not the member's: it stays when photographs before it are taken down.
            names = [job.dataset.photos[i].source_id for i in indices]
            before = number * steps
            w = projector.invert(
                generator, images, names, lambda step, _, b=before: progress(b + step, len(batches) * steps)
            )
            _require_finite(w, files)
            measures = measure(generator, features, w, images)
            measures |= {_BASELINE + k: v for k, v in measure(generator, features, mean, images).items()}
            found = Latents(w.cpu().numpy(), tuple(files), measures, {"key": job.key})
            write_latents(path, found)
            fault_point("invert.batch")
        progress((number + 1) * steps, len(batches) * steps)
        done.append(found)
    return done


def to_images(dataset: Dataset, indices: Sequence[int] | np.ndarray, device: torch.device) -> torch.Tensor:
    """Return photographs as [N, 3, H, W] float32 in [-1, 1]."""
    pixels = torch.from_numpy(dataset.images(indices)).to(device)
    return pixels.permute(0, 3, 1, 2).float() / 127.5 - 1


def _remove_leftovers(out: Path, parts: Path) -> None:
    """Remove what a killed writer left half-written."""
    if parts.is_dir():
        remove_partials(parts)
    for leftover in out.parent.glob(f".{out.name}.*{PARTIAL_SUFFIX}"):
        leftover.unlink(missing_ok=True)


def _found(path: Path, job: Job) -> Latents | None:
    """Return the codes at ``path`` if they are there, whole, and of this job."""
    try:
        latents = read_latents(path)
    except InputError:
        return None
    return latents if latents.metadata.get("key") == job.key else None


def _joined(done: Sequence[Latents], job: Job) -> Latents:
    measures = {name: np.concatenate([part.measures[name] for part in done]) for name in done[0].measures}
    means = {name: round(float(values.astype(np.float64).mean()), 6) for name, values in measures.items()}
    metadata = {
        **job.facts,
        "key": job.key,
        "photographs": len(job.indices),
        "of_photographs": len(job.dataset.files),
        "mean": {name: means[name] for name in MEASURES},
        "baseline": {name: means[_BASELINE + name] for name in MEASURES},
    }
    return Latents(
        np.concatenate([part.w for part in done]),
        tuple(file for part in done for file in part.files),
        {name: measures[name] for name in MEASURES},
        metadata,
    )


def _require_finite(w: torch.Tensor, names: Sequence[str]) -> None:
    bad = ~torch.isfinite(w).all(2).all(1)
    if bad.any():
        name = names[int(bad.nonzero()[0])]
        raise InputError(
            f"the latent code of {name} became not finite: the generator gives no numbers there; train it further "
            "or use another snapshot"
        )
