"""``atlas validate``: whether walks find what was planted in the calibration street."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from atlas.commands.settings import device_option, seed_option, settings_options
from atlas.commands.terminal import echo_json, progress_bar
from atlas.files import write_json
from atlas.grid import AXES
from atlas.preset import BoundarySettings
from pipeline.boundaries.validating import validate_files

_file = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command()
@click.option("--generator", required=True, type=_file, help="generator.safetensors of `atlas train`.")
@click.option("--latents", required=True, type=_file, help="The codes of `atlas invert`.")
@click.option("--data", required=True, type=_file, help="The calibration street, dataset.zip.")
@settings_options(
    BoundarySettings,
    fifth="Share of areas in each class.",
    c="The SVM's C, on standardised codes; 0: chosen inside the training part.",
    folds="Folds in which C is chosen.",
    bases="Random bases that are walked.",
)
@seed_option
@device_option
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="Write the tables as JSON too.")
@click.option("--json", "as_json", is_flag=True, help="Print the tables as JSON.")
def validate(
    generator: Path,
    latents: Path,
    data: Path,
    settings: BoundarySettings,
    seed: int,
    device: str,
    out: Path | None,
    as_json: bool,
) -> None:
    """Walk the calibration street: is what was planted found?

    Every axis is walked on many bases and the planted attributes are measured in the images: in each table, how far a
    whole walk moves each attribute, in standard deviations of the photographs' own. The directions of the atlas stand
    beside raw normals, directions from shuffled labels, random ones, and ideal ones that know the attributes.

    \b
    Example:
        atlas validate --generator train/generator.safetensors --latents latents/projector.safetensors \\
            --data dataset/dataset.zip
    """
    with progress_bar("validate") as progress:
        report = validate_files(generator, latents, data, settings, seed, device, progress)
    if out:
        write_json(out, report)
    if as_json:
        echo_json(report)
        return
    for line in validation_lines(report):
        click.echo(line)


def validation_lines(report: Mapping[str, Any]) -> list[str]:
    """Return the tables as lines of text."""
    names = report["attributes"]
    lines = [f"{report['bases']} bases; change over a whole walk, in standard deviations of the photographs"]
    for kind, found in report["kinds"].items():
        lines.append(f"{kind:<11}" + "".join(f"{name:>26}" for name in names) + "   own : other")
        for axis, row, times in zip(AXES, found["table"], found["times"], strict=True):
            cells = "".join(f"{f'{m:+.2f} ({low:+.2f} … {high:+.2f})':>26}" for m, low, high in row)
            lines.append(f"  {axis:<9}{cells}   {times:.1f}")
        lines.append(f"  each axis moves its own at least {report['bar']:.0f} times as much: {_yes(found['reached'])}")
    return lines


def _yes(value: bool) -> str:
    return "yes" if value else "no"
