"""The stages ``invert``, one per method, and ``compare``."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from atlas.errors import InputError
from atlas.faults import fault_point
from atlas.files import read_json, sha256_path, write_bytes, write_json
from atlas.preset import ENCODERS, InvertSettings
from atlas.progress import Progress, silent
from atlas.stage import Log, Stage, Work
from pipeline.features import weights_sha256
from pipeline.gan import Generator, load_generator
from pipeline.inversion.batches import Job, invert_dataset
from pipeline.inversion.comparison import CodesOf, Sources, compare
from pipeline.inversion.comparison_report import build_report, table_lines
from pipeline.inversion.encoders.encoder import check_unconditional
from pipeline.inversion.encoders.files import load_encoder_of
from pipeline.inversion.finders import ByEncoder, ByProjector, Finder, Start
from pipeline.inversion.latents import (
    dataset_fingerprint,
    read_latents,
    require_codes_for,
    require_made_from,
    rows_of,
)
from pipeline.inversion.projector import Projector, ProjectorSettings
from pipeline.inversion.selection import HELD_OUT, choose_compared, choose_photographs
from pipeline.lpips import Perceptual, choose_perceptual
from pipeline.photos.dataset import Dataset, open_dataset

INVERT_VERSIONS = {"e4e": 2, "restyle": 2, "projector": 3}
COMPARE_VERSION = 1
LPIPS_NET = "vgg16"  # with it the projector is published, and figures that compare methods usually are
_FOR_ALL = ("batch", "photographs", "compared")
FOR_THE_PROJECTOR = ("limit", "steps", "space", "patience", "pixel_weight", "keep_noise")


@dataclass(frozen=True)
class InvertSources:
    """The files that photographs are inverted from.

    Attributes:
        generator: ``generator.safetensors``.
        dataset: ``dataset.zip``.
        encoder: the trained encoder of the methods that have one, ``encoders/METHOD.safetensors``.
        start: an encoder's codes that the projector starts from, ``latents/METHOD.safetensors``; None for the mean.
    """

    generator: Path
    dataset: Path
    encoder: Path | None = None
    start: Path | None = None


def invert_stage(
    method: str,
    sources: InvertSources,
    settings: InvertSettings,
    seed: int,
    device: str,
    out: Path,
    record: Path,
    log: Log = print,
    progress: Progress = silent,
) -> tuple[Stage, Work]:
    """Return the stage that inverts photographs by one method, and its work.

    Args:
        method: "e4e", "restyle" or "projector".
        sources: what it reads.
        settings: which photographs, how many at once, the projector's numbers.
        seed: of the choice and of the photographs' random streams.
        device: where PyTorch runs.
        out: ``latents/METHOD.safetensors``.
        record: the stage's record; the seconds per photograph stand in it under ``measured``.
        log: takes one line of news.
        progress: told of batches, and of the optimiser's steps.

    Raises:
        InputError: the method needs an encoder and none is given, or has no use for one that is.
    """
    _require_sources(method, sources)
    names = _FOR_ALL if method in ENCODERS else (*_FOR_ALL, *FOR_THE_PROJECTOR)
    chosen = {name: getattr(settings, name) for name in names}
    inputs = {
        "generator": sources.generator,
        "dataset": sources.dataset,
        "encoder": sources.encoder,
        "codes to start from": sources.start,
        "lpips": Path(settings.lpips) if settings.lpips else None,
    }
    stage = Stage(
        name=f"invert {method}",
        version=INVERT_VERSIONS[method],
        record=record,
        inputs={name: path for name, path in inputs.items() if path is not None},
        settings={**chosen, "method": method, "seed": seed, "features": weights_sha256()},
        outputs={"latents": out},
    )

    def work(resume: bool) -> Mapping[str, Any]:
        opened = open_dataset(sources.dataset)
        G = _load_generator(sources.generator, device)
        perceptual = choose_perceptual(settings.lpips, LPIPS_NET, device)
        job = _job(method, opened, sources, settings, perceptual, seed)
        log(f"{stage.name}: {len(job.indices)} of {len(opened.files)} photographs")
        finder = _finder(G, job, sources, settings, perceptual, seed, device)
        measured = invert_dataset(G, finder, job, perceptual.features, out, resume=resume, progress=progress)
        log(f"{stage.name}: {_summary(out, measured)}")
        return measured

    return stage, work


def _require_sources(method: str, sources: InvertSources) -> None:
    if method in ENCODERS and sources.encoder is None:
        raise InputError(f"{method} inverts by a trained encoder: give --encoder encoders/{method}.safetensors")
    if method in ENCODERS and sources.start is not None:
        raise InputError(f"{method} starts from nothing: --start is for the projector")
    if method not in ENCODERS and sources.encoder is not None:
        raise InputError("the projector uses no encoder: to start from an encoder's codes, give them with --start")


def _load_generator(path: Path, device: str) -> Generator:
    G = load_generator(path, device=device)
    check_unconditional(G, str(path))
    return G


def _finder(
    generator: Generator,
    job: Job,
    sources: InvertSources,
    settings: InvertSettings,
    perceptual: Perceptual,
    seed: int,
    device: str,
) -> Finder:
    if sources.encoder is not None:
        return ByEncoder(load_encoder_of(job.facts["method"], sources.encoder, generator, device))
    projector = Projector(_projector_settings(settings), seed, perceptual.features).fit(generator)
    start = None if sources.start is None else _start(sources.start, generator, job)
    return ByProjector(projector, start, settings.keep_noise)


def _start(path: Path, generator: Generator, job: Job) -> Start:
    latents = read_latents(path)
    made_from = {name: job.facts[name] for name in ("photographs_sha256", "generator_sha256")}
    require_made_from(latents, path, **made_from)
    require_codes_for(latents, path, generator.num_ws, generator.w_dim)
    rows_of(latents, [job.dataset.files[i] for i in job.indices], path)  # now, and not when their batch's turn comes
    return Start(latents, path)


def _projector_settings(settings: InvertSettings) -> ProjectorSettings:
    return ProjectorSettings(
        steps=settings.steps,
        space=settings.space,
        patience=settings.patience,
        pixel_weight=settings.pixel_weight,
    )


def _job(
    method: str,
    dataset: Dataset,
    sources: InvertSources,
    settings: InvertSettings,
    perceptual: Perceptual,
    seed: int,
) -> Job:
    by_projector = method not in ENCODERS
    facts = {
        "method": method,
        "seed": seed,
        "chosen": settings.photographs,
        "features": perceptual.name,
        "features_sha256": perceptual.sha256,
        "generator_sha256": sha256_path(sources.generator),
        "dataset_sha256": sha256_path(sources.dataset),
        "photographs_sha256": dataset_fingerprint(dataset.photos),
    }
    if by_projector:
        facts |= {"steps": settings.steps, "space": settings.space, "start": "mean of w"}
        facts |= {"projector": dataclasses.asdict(_projector_settings(settings)), "noise": settings.keep_noise}
    if sources.start is not None:
        facts |= {
            "start": read_latents(sources.start).metadata.get("method", "codes"),
            "start_sha256": sha256_path(sources.start),
        }
    if sources.encoder is not None:
        facts |= {"encoder_sha256": sha256_path(sources.encoder)}
    limit = settings.limit if by_projector else 0
    indices = _chosen_photographs(dataset, settings, limit, seed)
    return Job(dataset, indices, settings.batch, facts, keep_noise=by_projector and settings.keep_noise)


def _chosen_photographs(dataset: Dataset, settings: InvertSettings, limit: int, seed: int) -> np.ndarray:
    percentiles = np.array([photo.percentiles for photo in dataset.photos])
    indices = choose_photographs(percentiles, settings.photographs, limit, seed)
    if not len(indices):
        raise InputError(
            f"{dataset.path} has no photograph in the most or least deprived fifth of any axis: "
            'invert all with photographs = "all"'
        )
    return np.union1d(indices, choose_compared(dataset.photos, settings.compared, seed))


def _summary(out: Path, measured: Mapping[str, Any]) -> str:
    facts = read_latents(out).metadata
    parts = [f"{name} {facts['mean'][name]:.3f} (mean code {facts['baseline'][name]:.3f})" for name in facts["mean"]]
    if measured:
        parts.append(f"{measured['seconds_per_photograph']:.3g} s per photograph")
    return ", ".join(parts)


def compare_stage(
    sources: Sources,
    own_codes: CodesOf,
    compared: int,
    seed: int,
    device: str,
    out: Path,
    record: Path,
    log: Log = print,
    progress: Progress = silent,
) -> tuple[Stage, Work]:
    """Return the stage that compares methods of inversion on photographs that no encoder is trained on, and its work.

    Args:
        sources: generator, dataset, and the latents of each method.
        own_codes: samples the generator's own codes, against which the methods' are held
            (`pipeline.boundaries.OwnCodes.sample`).
        compared: at most so many photographs.
        seed: of the choice, the samples and the bootstrap.
        device: where PyTorch runs.
        out: ``comparison.json``; the sheet of images is written beside it, ``comparison.png``.
        record: the stage's record.
        log: takes one line of news, the table among them, with the seconds that each method's record holds.
        progress: told of photographs.
    """
    sheet = out.with_suffix(".png")
    methods = {f"latents {number}": path for number, path in enumerate(sources.latents)}
    lpips = {"lpips": Path(sources.lpips)} if sources.lpips else {}
    stage = Stage(
        name="compare",
        version=COMPARE_VERSION,
        record=record,
        inputs={"generator": sources.generator, "dataset": sources.dataset, **methods, **lpips},
        settings={"compared": compared, "held_out": HELD_OUT, "seed": seed, "features": weights_sha256()},
        outputs={"comparison": out, "sheet": sheet},
    )

    def work(resume: bool) -> None:
        if not resume:
            out.unlink(missing_ok=True)
        if not out.exists():  # written last: where it stands, all is done
            generator = _load_generator(sources.generator, device)
            perceptual = choose_perceptual(sources.lpips, LPIPS_NET, device)
            found = compare(sources, generator, own_codes(generator, seed), perceptual, compared, seed, progress)
            write_bytes(sheet, found.sheet)
            fault_point("compare.sheet")
            write_json(out, build_report(found, seed))
        for line in table_lines(read_json(out), seconds_per_photograph(sources.latents)):
            log(f"compare: {line}")

    return stage, work


def seconds_per_photograph(latents: Sequence[Path]) -> dict[str, float]:
    """Return what each method took per photograph, by the records beside their files; without those that have none."""
    seconds: dict[str, float] = {}
    for path in latents:
        record = path.with_name(f"{path.stem}.stage.json")
        told = read_json(record) if record.exists() else {}
        if "measured" in told:
            seconds[told["settings"]["method"]] = told["measured"]["seconds_per_photograph"]
    return seconds
