"""Inverting a whole dataset batch by batch, so that a killed run keeps every batch that was finished."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from atlas.errors import InputError
from atlas.faults import fault_point
from atlas.files import remove_partials, remove_partials_of, require_space, sha256_bytes
from atlas.progress import Progress, silent
from pipeline.features import FeatureFunction
from pipeline.gan import Generator
from pipeline.inversion.finders import Batch, Codes, Finder
from pipeline.inversion.latents import Latents, read_latents, write_latents
from pipeline.inversion.measures import MEASURES, measure, require_images_of
from pipeline.inversion.noise import noise_buffers
from pipeline.inversion.projection import w_statistics
from pipeline.inversion.schedule import W_SAMPLES
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
        keep_noise: whether the finder gives noise maps too; they need room on the disk.
    """

    dataset: Dataset
    indices: np.ndarray
    batch: int
    facts: Mapping[str, Any]
    keep_noise: bool = False

    @property
    def key(self) -> str:
        """Return a digest of all that decides the codes."""
        parts = {**self.facts, "batch": self.batch, "indices": self.indices.tolist()}
        return sha256_bytes(json.dumps(parts, sort_keys=True).encode())

    def batches(self) -> list[np.ndarray]:
        """Return the indices of each batch."""
        return [self.indices[start : start + self.batch] for start in range(0, len(self.indices), self.batch)]


def invert_dataset(
    generator: Generator,
    finder: Finder,
    job: Job,
    features: FeatureFunction,
    out: Path,
    *,
    resume: bool,
    progress: Progress = silent,
) -> dict[str, float]:
    """Invert photographs and write ``out``; finished batches lie in ``STEM.parts`` until all are done.

    Args:
        generator: in eval mode.
        finder: finds the codes.
        job: what to invert.
        features: of the perceptual distance that is measured.
        out: ``METHOD.safetensors``.
        resume: keep the batches that a killed run of the same job finished.
        progress: told of the finder's units, over all batches.

    Returns:
        What was measured, for the stage's record only: ``photographs``, how many were inverted in this go, and
        ``seconds_per_photograph``, the finder's alone; nothing if all were done before.

    Raises:
        InputError: the photographs' size is not the generator's, or a code came out not finite.
        SpaceError: the disk cannot hold the codes.
    """
    require_images_of(generator, 3, job.dataset.size, job.dataset.size)
    parts = out.with_name(f"{out.stem}.parts")
    watch = _Watch()
    if not resume:
        out.unlink(missing_ok=True)
        shutil.rmtree(parts, ignore_errors=True)
    if _found(out, job) is None:
        require_space(out.parent, 2 * len(job.indices) * _bytes_of_one(generator, job), "the latent codes")
        remove_partials_of(out)
        remove_partials(parts)
        done = _invert_batches(generator, finder, job, features, parts, watch, progress)
        write_latents(out, _joined(done, job))
    fault_point("invert.joined")
    shutil.rmtree(parts, ignore_errors=True)
    return watch.measured()


class _Watch:
    """Times a finder."""

    def __init__(self) -> None:
        self._photographs, self._seconds = 0, 0.0

    def find(self, finder: Finder, batch: Batch, progress: Progress) -> Codes:
        begun = time.perf_counter()
        codes = finder.find(batch, progress)
        codes = Codes(codes.w.cpu(), {name: maps.cpu() for name, maps in codes.noise.items()})  # waits for a GPU
        self._seconds += time.perf_counter() - begun
        self._photographs += len(batch.files)
        return codes

    def measured(self) -> dict[str, float]:
        if not self._photographs:
            return {}
        return {
            "photographs": self._photographs,
            "seconds_per_photograph": round(self._seconds / self._photographs, 6),
        }


def _bytes_of_one(generator: Generator, job: Job) -> int:
    """Return the bytes that one photograph's codes take, and its noise maps where they are kept."""
    noise = sum(r * r for _, r in noise_buffers(generator.synthesis)) if job.keep_noise else 0
    return 4 * generator.num_ws * generator.w_dim + 2 * noise


def _invert_batches(
    generator: Generator,
    finder: Finder,
    job: Job,
    features: FeatureFunction,
    parts: Path,
    watch: _Watch,
    progress: Progress,
) -> list[Latents]:
    device = next(generator.synthesis.parameters()).device
    units, batches = finder.units, job.batches()
    mean = w_statistics(generator, W_SAMPLES).mean.expand(1, generator.num_ws, -1)
    done: list[Latents] = []
    for number, indices in enumerate(batches):
        path = parts / f"{number:05d}.safetensors"
        found = _found(path, job)
        if found is None:
            batch = to_batch(job.dataset, indices, device)
            before = number * units
            codes = watch.find(finder, batch, lambda step, _, b=before: progress(b + step, len(batches) * units))
            _require_finite(codes, batch.files)
            measures = measure(generator, features, codes.w.to(device), batch.images)
            measures |= {_BASELINE + k: v for k, v in measure(generator, features, mean, batch.images).items()}
            noise = {name: maps.half().numpy() for name, maps in codes.noise.items()}
            found = Latents(codes.w.numpy(), batch.files, measures, {"key": job.key}, noise)
            write_latents(path, found)
            fault_point("invert.batch")
        progress((number + 1) * units, len(batches) * units)
        done.append(found)
    return done


def to_batch(dataset: Dataset, indices: Sequence[int] | np.ndarray, device: torch.device) -> Batch:
    """Return photographs with their names."""
    files = tuple(dataset.files[i] for i in indices)
    return Batch(to_images(dataset, indices, device), files, tuple(dataset.photos[i].source_id for i in indices))


def to_images(dataset: Dataset, indices: Sequence[int] | np.ndarray, device: torch.device | str) -> torch.Tensor:
    """Return photographs as [N, 3, H, W] float32 in [-1, 1]."""
    pixels = torch.from_numpy(dataset.images(indices)).to(device)
    return pixels.permute(0, 3, 1, 2).float() / 127.5 - 1


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
        {name: np.concatenate([part.noise[name] for part in done]) for name in done[0].noise},
    )


def _require_finite(codes: Codes, names: Sequence[str]) -> None:
    good = torch.isfinite(codes.w).all(2).all(1)
    for maps in codes.noise.values():
        good &= torch.isfinite(maps).all(2).all(1)
    if not good.all():
        name = names[int((~good).nonzero()[0])]
        raise InputError(
            f"the latent code of {name} became not finite: the generator gives no numbers there; train it further "
            "or use another snapshot"
        )
