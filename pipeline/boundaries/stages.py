"""The stage ``boundaries``: latent codes and dataset in, boundaries, evidence and figures out."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from atlas.files import remove_partials, write_json, write_text
from atlas.preset import BoundarySettings
from atlas.progress import Progress, silent
from atlas.stage import Log, Stage
from pipeline.boundaries.evidence import Evidence
from pipeline.boundaries.kept import Kept
from pipeline.boundaries.report import table1_csv
from pipeline.boundaries.sources import Sources
from pipeline.boundaries.store import write_boundaries
from pipeline.features import weights_sha256

VERSION = 4
PARTS = "evidence.parts"


def boundaries_stage(
    latents: Sequence[Path],
    dataset: Path,
    settings: BoundarySettings,
    seed: int,
    folder: Path,
    log: Log = print,
    progress: Progress = silent,
    *,
    generator: Path | None = None,
    encoders: Mapping[str, Path] | None = None,
    comparison: Path | None = None,
    device: str = "cpu",
) -> tuple[Stage, Callable[[bool], None]]:
    """Return the stage that fits boundaries and gathers the evidence, and its work.

    Args:
        latents: ``METHOD.safetensors`` of each method; the method is read from it, or else from its name.
        dataset: ``dataset.zip``.
        settings: the share in each class, C, folds, how much is drawn and walked.
        seed: of everything that chance decides.
        folder: gets ``boundaries.safetensors``, ``report.json``, ``table1.csv``, ``figures`` and the stage's record.
        log: takes one line of news.
        progress: told of the parts of the evidence.
        generator: ``generator.safetensors``; without it nothing is rendered: no figures, no measured changes.
        encoders: by method, the encoder that its rendered walks are inverted with; the projector needs one only
            where it started from that encoder's codes.
        comparison: ``comparison.json`` of the methods of inversion, for the figure that compares them.
        device: where PyTorch runs.

    Raises:
        InputError: no latents are given, or something that would be ignored (`Sources.require_used`).
    """
    sources = Sources(tuple(latents), dataset, generator, dict(encoders or {}), comparison, device)
    sources.require_used(settings)
    outputs = {
        "boundaries": folder / "boundaries.safetensors",
        "report": folder / "report.json",
        "table1": folder / "table1.csv",
    }
    figures = folder / "figures"
    drawn = generator is not None and settings.figures
    inputs = {f"latents {path.stem}": path for path in latents} | {"dataset": dataset}
    inputs |= {f"encoder {method}": path for method, path in (encoders or {}).items()}
    inputs |= {name: path for name, path in (("generator", generator), ("comparison", comparison)) if path is not None}
    stage = Stage(
        name="boundaries",
        version=VERSION,
        record=folder / "stage.json",
        inputs=inputs,
        settings={**dataclasses.asdict(settings), "seed": seed, "features": weights_sha256()},
        outputs=outputs | ({"figures": figures} if drawn else {}),
    )

    def work(resume: bool) -> None:
        if folder.is_dir():
            remove_partials(folder)
        shutil.rmtree(figures, ignore_errors=True)
        kept = Kept(folder / PARTS, resume)
        evidence = Evidence(sources, settings, seed, kept, figures if drawn else None, log, progress)
        boundaries, report = evidence.gather()
        write_boundaries(outputs["boundaries"], boundaries)
        write_json(outputs["report"], report)
        write_text(outputs["table1"], table1_csv(report))
        kept.forget()
        for warning in report["warnings"]:
            log(f"boundaries: {warning}")
        if report["leakage_line"]:
            log(f"boundaries: {report['leakage_line']}")

    return stage, work
