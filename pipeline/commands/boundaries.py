"""``atlas boundaries``: SVMs between the most and the least deprived areas, Table 1, directions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from atlas.commands.settings import seed_option, settings_options
from atlas.commands.terminal import echo_json, progress_bar, say
from atlas.files import read_json
from atlas.preset import BoundarySettings
from atlas.stage import run_stage
from pipeline.boundaries.stages import boundaries_stage

_file = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command()
@click.option("--latents", required=True, type=_file, help="The codes of `atlas invert`, latents/METHOD.safetensors.")
@click.option("--data", required=True, type=_file, help="The dataset, dataset.zip.")
@click.option("--out", required=True, type=click.Path(file_okay=False, path_type=Path), help="A folder.")
@settings_options(
    BoundarySettings,
    fifth="Share of areas in each class.",
    c="The SVM's C, on standardised codes; smaller is smoother.",
    folds="Folds of the cross-validation by area.",
)
@seed_option
@click.option("--json", "as_json", is_flag=True, help="Print the whole report as JSON.")
def boundaries(latents: Path, data: Path, out: Path, settings: BoundarySettings, seed: int, as_json: bool) -> None:
    """Fit the SVM boundaries and the walks' directions.

    Writes boundaries.safetensors, report.json and table1.csv into the folder, and prints Table 1: how well each
    boundary tells the most from the least deprived fifth, in areas that it has not seen.

    \b
    Example:
        atlas boundaries --latents latents/projector.safetensors --data dataset.zip --out boundaries/
    """
    with progress_bar("boundaries") as progress:
        stage, work = boundaries_stage([latents], data, settings, seed, out, say, progress)
        run_stage(stage, work, log=say)
    report = read_json(out / "report.json")
    if as_json:
        echo_json(report)
    else:
        for line in table_lines(report):
            click.echo(line)


def table_lines(report: dict[str, Any]) -> list[str]:
    """Return Table 1 as lines of text."""
    lines = ["axis       method     precision  recall  F1     95 % interval   AUC    n      areas"]
    for row in report["table1"]:
        low, high = row["f1_interval"]
        lines.append(
            f"{row['axis']:<10} {row['method']:<10} {row['precision']:<10.3f} {row['recall']:<7.3f} {row['f1']:<6.3f} "
            f"{low:.3f} … {high:.3f}   {row['auc']:<6.3f} {row['n']:<6} {row['areas']}"
        )
    return lines
