"""The stage "metrics": a generator and a dataset in, numbers and sheets out."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

from atlas.progress import Progress, silent
from atlas.stage import Log, Stage
from pipeline.features import weights_sha256
from pipeline.metrics.evaluation import NEAREST, REPORT, SAMPLES, TABLE, FeatureFiles, evaluate
from pipeline.metrics.settings import MetricsSettings

NAME = "metrics"
VERSION = 2


def metrics_stage(
    generator: Path,
    dataset: Path,
    settings: MetricsSettings,
    seed: int,
    device: str,
    folder: Path,
    files: FeatureFiles | None = None,
    log: Log = print,
    progress: Progress = silent,
    held_out: Path | None = None,
) -> tuple[Stage, Callable[[bool], None]]:
    """Return the stage that evaluates ``generator`` against ``dataset`` into ``folder``, and its work.

    Arguments are those of `pipeline.metrics.evaluation.evaluate`.
    """
    given = {**dataclasses.asdict(files or FeatureFiles()), "held out": held_out}
    stage = Stage(
        name=NAME,
        version=VERSION,
        record=folder / "stage.json",
        inputs={"generator": generator, "dataset": dataset, **{k: path for k, path in given.items() if path}},
        settings={**dataclasses.asdict(settings), "seed": seed, "features": weights_sha256()},
        outputs={
            "report": folder / REPORT,
            "samples": folder / SAMPLES,
            "nearest": folder / NEAREST,
            "nearest of all": folder / TABLE,
        },
    )

    def work(resume: bool) -> None:
        report = evaluate(
            generator, dataset, folder, settings, seed, files, held_out=held_out, device=device, progress=progress
        )
        for line in summary(report):
            log(line)

    return stage, work


def summary(report: dict) -> list[str]:
    """Return the report in a few lines."""
    lines = [f"metrics: compared with {report['compared_with']}"]
    for number in report["numbers"]:
        interval = f" ({number['interval'][0]:.4g} … {number['interval'][1]:.4g})" if "interval" in number else ""
        lines.append(f"{number['name']}: {number['value']:.4g}{interval}")
    found = report["memorisation"]
    if found["flagged"] is None:
        lines.append("memorisation: not tested, too few photographs are held out")
    else:
        verdict = "samples are NEARER to photographs than held-out ones are" if found["flagged"] else "nothing found"
        lines.append(
            f"memorisation ({found['features']} features): {verdict}; chance that a sample is the nearer one "
            f"{found['chance_that_a_sample_is_nearer']:.2f}, p {found['mann_whitney_p']:.2g}; held out are "
            f"{found['held_out_are']}"
        )
    return lines
