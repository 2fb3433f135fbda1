"""``atlas invert``: the latent code of each photograph."""

from __future__ import annotations

from pathlib import Path

import click

from atlas.commands.settings import device_option, seed_option, settings_options
from atlas.commands.terminal import progress_bar, say
from atlas.preset import InvertSettings
from atlas.stage import run_stage
from pipeline.inversion.stages import invert_stage

_file = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command()
@click.option("--generator", required=True, type=_file, help="generator.safetensors of `atlas train`.")
@click.option("--data", required=True, type=_file, help="The dataset, dataset.zip.")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="The codes, latents/METHOD.safetensors.")
@settings_options(
    InvertSettings,
    method="How codes are found.",
    steps="Steps of the optimiser.",
    batch="Photographs at once.",
    photographs="All, or those in the most or least deprived fifth of an axis.",
    limit="At most so many, balanced over the classes; 0 for all.",
)
@seed_option
@device_option
def invert(generator: Path, data: Path, out: Path, settings: InvertSettings, seed: int, device: str) -> None:
    """Find the latent code of each photograph.

    A run that was stopped goes on where it was: finished batches are kept beside the result.

    \b
    Example:
        atlas invert --generator train/generator.safetensors --data dataset.zip --method projector \\
            --out latents/projector.safetensors
    """
    record = out.with_name(f"{out.stem}.stage.json")
    with progress_bar("invert") as progress:
        stage, work = invert_stage(generator, data, settings, seed, device, out, record, say, progress)
        run_stage(stage, work, log=say)
