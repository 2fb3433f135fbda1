"""The stage ``invert``: generator and dataset in, latent codes out."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np

from atlas.errors import InputError
from atlas.files import sha256_path
from atlas.preset import InvertSettings
from atlas.progress import Progress, silent
from atlas.stage import Log, Stage
from pipeline.features import PERCEPTUAL_NAME, weights_sha256
from pipeline.gan import load_generator
from pipeline.inversion.batches import Job, invert_dataset
from pipeline.inversion.latents import dataset_fingerprint, read_latents
from pipeline.inversion.projector import Projector, ProjectorSettings
from pipeline.inversion.selection import choose_photographs
from pipeline.photos.dataset import Dataset, open_dataset

VERSION = 1


def invert_stage(
    generator: Path,
    dataset: Path,
    settings: InvertSettings,
    seed: int,
    device: str,
    out: Path,
    record: Path,
    log: Log = print,
    progress: Progress = silent,
) -> tuple[Stage, Callable[[bool], None]]:
    """Return the stage that inverts photographs, and its work.

    Args:
        generator: ``generator.safetensors``.
        dataset: ``dataset.zip``.
        settings: method, steps, batch, which photographs.
        seed: of the choice and of the photographs' random streams.
        device: where PyTorch runs.
        out: ``latents/METHOD.safetensors``.
        record: the stage's record.
        log: takes one line of news.
        progress: told of the optimiser's steps.
    """
    stage = Stage(
        name="invert",
        version=VERSION,
        record=record,
        inputs={"generator": generator, "dataset": dataset},
        settings={**dataclasses.asdict(settings), "seed": seed, "features": weights_sha256()},
        outputs={"latents": out},
    )

    def work(resume: bool) -> None:
        opened = open_dataset(dataset)
        G = load_generator(generator, device=device)
        if G.c_dim or G.img_channels != 3:
            raise InputError(
                f"{generator} must be an unconditional generator of RGB images, got {G.img_channels} channels and a "
                f"condition of {G.c_dim} numbers: use another"
            )
        projector = Projector(ProjectorSettings(steps=settings.steps), seed)
        job = _job(opened, sha256_path(generator), settings, projector)
        log(f"invert: {len(job.indices)} of {len(opened.files)} photographs, {settings.steps} steps each")
        invert_dataset(G, projector, job, out, resume=resume, progress=progress)
        log(f"invert: {_summary(out)}")

    return stage, work


def _job(dataset: Dataset, generator_sha256: str, settings: InvertSettings, projector: Projector) -> Job:
    percentiles = np.array([photo.percentiles for photo in dataset.photos])
    facts = {
        "method": settings.method,
        "space": "w",
        "steps": settings.steps,
        "projector": dataclasses.asdict(projector.settings),
        "seed": projector.seed,
        "chosen": settings.photographs,
        "features": PERCEPTUAL_NAME,
        "features_sha256": weights_sha256(),
        "generator_sha256": generator_sha256,
        "dataset_sha256": sha256_path(dataset.path),
        "photographs_sha256": dataset_fingerprint(dataset.photos),
    }
    indices = choose_photographs(percentiles, settings.photographs, settings.limit, projector.seed)
    if not len(indices):
        raise InputError(
            f"{dataset.path} has no photograph in the most or least deprived fifth of any axis: "
            'invert all with photographs = "all"'
        )
    return Job(dataset, indices, settings.batch, facts)


def _summary(out: Path) -> str:
    facts = read_latents(out).metadata
    pairs = (f"{name} {facts['mean'][name]:.3f} (mean code {facts['baseline'][name]:.3f})" for name in facts["mean"])
    return ", ".join(pairs)
