"""The stage ``boundaries``: latent codes and dataset in, boundaries and their report out."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

from atlas.files import remove_partials, write_json, write_text
from atlas.preset import BoundarySettings
from atlas.progress import Progress, silent
from atlas.stage import Log, Stage
from pipeline.boundaries.fitting import fit_boundaries
from pipeline.boundaries.report import build_report, table1_csv
from pipeline.boundaries.store import write_boundaries
from pipeline.inversion.latents import read_latents
from pipeline.photos.dataset import open_dataset

VERSION = 1
_INVERSION_FACTS = ("steps", "features", "photographs", "of_photographs", "chosen", "mean", "baseline")


def boundaries_stage(
    latents: Sequence[Path],
    dataset: Path,
    settings: BoundarySettings,
    seed: int,
    folder: Path,
    log: Log = print,
    progress: Progress = silent,
) -> tuple[Stage, Callable[[bool], None]]:
    """Return the stage that fits boundaries, and its work.

    Args:
        latents: ``METHOD.safetensors`` of each method; the method is read from it, or else from its name.
        dataset: ``dataset.zip``.
        settings: the share in each class, C, folds.
        seed: of the balancing, the folds and the bootstrap.
        folder: gets ``boundaries.safetensors``, ``report.json``, ``table1.csv`` and the stage's record.
        log: takes one line of news.
        progress: told of axes.
    """
    outputs = {
        "boundaries": folder / "boundaries.safetensors",
        "report": folder / "report.json",
        "table1": folder / "table1.csv",
    }
    stage = Stage(
        name="boundaries",
        version=VERSION,
        record=folder / "stage.json",
        inputs={**{f"latents {number}": path for number, path in enumerate(latents)}, "dataset": dataset},
        settings={**dataclasses.asdict(settings), "seed": seed},
        outputs=outputs,
    )

    def work(resume: bool) -> None:
        if folder.is_dir():
            remove_partials(folder)
        opened = open_dataset(dataset)
        fits, inversions = [], {}
        for path in latents:
            codes = read_latents(path)
            method = str(codes.metadata.get("method", path.stem))
            fits.append(fit_boundaries(codes, opened, settings, seed, method, progress))
            inversions[method] = {name: codes.metadata[name] for name in _INVERSION_FACTS if name in codes.metadata}
        report = build_report(fits, settings, seed, inversions)
        write_boundaries(outputs["boundaries"], [fit.boundaries for fit in fits])
        write_json(outputs["report"], report)
        write_text(outputs["table1"], table1_csv(report))
        for warning in report["warnings"]:
            log(f"boundaries: {warning}")

    return stage, work
