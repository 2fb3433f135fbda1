"""``atlas boundaries``: SVMs between the most and the least deprived areas, Table 1, directions, figures."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from atlas.commands.settings import device_option, seed_option, settings_options
from atlas.commands.terminal import echo_json, progress_bar, say
from atlas.errors import InputError
from atlas.files import read_json
from atlas.preset import BoundarySettings
from atlas.stage import run_stage
from pipeline.boundaries.stages import boundaries_stage

_file = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command()
@click.option(
    "--latents", required=True, multiple=True, type=_file, help="The codes of `atlas invert`; once for each method."
)
@click.option("--data", required=True, type=_file, help="The dataset, dataset.zip.")
@click.option("--out", required=True, type=click.Path(file_okay=False, path_type=Path), help="A folder.")
@click.option("--generator", type=_file, help="generator.safetensors, for figures and what is measured in images.")
@click.option("--encoder", multiple=True, metavar="METHOD=FILE", help="Inverts rendered walks of that method again.")
@click.option("--comparison", type=_file, help="comparison.json of the methods, for the figure that compares them.")
@settings_options(
    BoundarySettings,
    fifth="Share of areas in each class.",
    c="The SVM's C, on standardised codes; smaller is smoother; 0: chosen inside the training part.",
    folds="Folds of both protocols.",
    directions="What a walk leaves alone.",
    bootstraps="Draws of blocks behind each interval.",
    permutations="Permutations of deprivation over areas; 0 for none.",
    bases="Random bases that are walked and measured.",
    reinverted="How many of them are inverted again; 0 for none.",
    reinvert_steps="Steps of the projector on these.",
    figures="Draw the figures.",
    umap="Project photographs by UMAP.",
)
@seed_option
@device_option
@click.option("--json", "as_json", is_flag=True, help="Print the whole report as JSON.")
def boundaries(
    latents: tuple[Path, ...],
    data: Path,
    out: Path,
    generator: Path | None,
    encoder: tuple[str, ...],
    comparison: Path | None,
    settings: BoundarySettings,
    seed: int,
    device: str,
    as_json: bool,
) -> None:
    """Fit the SVM boundaries and say what they rest on.

    Writes boundaries.safetensors, report.json, table1.csv and figures into the folder, and prints Table 1 by two
    protocols: photographs split at random, as in the paper, and in blocks of 1 km that a boundary has not seen.

    \b
    Example:
        atlas boundaries --latents latents/projector.safetensors --data dataset.zip \\
            --generator train/generator.safetensors --out boundaries/
    """
    if generator is None:
        _refuse_what_needs_images()
    with progress_bar("boundaries") as progress:
        stage, work = boundaries_stage(
            latents,
            data,
            settings,
            seed,
            out,
            say,
            progress,
            generator=generator,
            encoders=parse_encoders(encoder),
            comparison=comparison,
            device=device,
        )
        run_stage(stage, work, log=say)
    report = read_json(out / "report.json")
    if as_json:
        echo_json(report)
    else:
        for line in table_lines(report):
            click.echo(line)


def table_lines(report: Mapping[str, Any]) -> list[str]:
    """Return Table 1 as lines of text."""
    names = [_name(row) for row in report["table1"]]
    wide = max((len(name) for name in names), default=0)
    lines = [
        f"axis       {'method':<{wide}} split   precision  recall  F1     95 % interval   "
        "AUC    95 % interval   p       n      blocks"
    ]
    for name, row in zip(names, report["table1"], strict=True):
        (low, high), (least, most) = row["f1_interval"], row["auc_interval"]
        p = f"{row['p']:.3f}" if "p" in row else "–"
        lines.append(
            f"{row['axis']:<10} {name:<{wide}} {row['protocol']:<7} {row['precision']:<10.3f} "
            f"{row['recall']:<7.3f} {row['f1']:<6.3f} {low:.3f} … {high:.3f}   {row['auc']:<6.3f} "
            f"{least:.3f} … {most:.3f}   {p:<7} {row['n']:<6} {row['blocks']}"
        )
    return lines


def _name(row: Mapping[str, Any]) -> str:
    """Return the method, of a reference with the methods whose photographs it was tried on."""
    whose = row.get("photographs_of")
    return f"{row['method']} of {'+'.join(whose)}" if whose else str(row["method"])


def _refuse_what_needs_images() -> None:
    """Refuse options of images that nothing renders."""
    given = click.get_current_context().params
    for name in ("bases", "reinverted", "reinvert_steps", "figures"):
        if given[name]:
            raise InputError(f"--{name.replace('_', '-')} is about rendered images: give --generator too")


def parse_encoders(given: tuple[str, ...]) -> dict[str, Path]:
    """Read METHOD=FILE, once a method.

    Raises:
        InputError: another form, a file that does not exist, or a method twice.
    """
    found: dict[str, Path] = {}
    for text in given:
        method, _, file = text.partition("=")
        if not method or not Path(file).is_file():
            raise InputError(f"--encoder must be METHOD=FILE with a file that exists, got {text}")
        if method in found:
            raise InputError(f"--encoder gives two files for {method}: give one of them")
        found[method] = Path(file)
    return found
