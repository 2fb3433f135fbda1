"""``atlas invert``: the latent code of each photograph."""

from __future__ import annotations

from pathlib import Path

import click

from atlas.commands.settings import device_option, seed_option, settings_options
from atlas.commands.terminal import progress_bar, say
from atlas.preset import ENCODERS, METHODS, InvertSettings
from atlas.stage import run_stage
from pipeline.commands.options import refuse_unused
from pipeline.inversion.stages import FOR_THE_PROJECTOR, InvertSources, invert_stage

_file = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command()
@click.option("--generator", required=True, type=_file, help="generator.safetensors of `atlas train`.")
@click.option("--data", required=True, type=_file, help="The dataset, dataset.zip.")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="The codes, latents/METHOD.safetensors.")
@click.option(
    "--method", default="projector", show_default=True, type=click.Choice(METHODS), help="How codes are found."
)
@click.option("--encoder", type=_file, help="For e4e and restyle: the trained encoder, encoders/METHOD.safetensors.")
@click.option("--start", type=_file, help="For the projector: an encoder's codes to start from, not the mean.")
@settings_options(
    InvertSettings,
    batch="Photographs at once.",
    photographs="All, or those in the most or least deprived fifth of an axis.",
    limit="The projector inverts at most so many, balanced over the classes; 0 for all.",
    compared="So many that no encoder is trained on are inverted beside these, to compare methods on.",
    lpips="Folder with LPIPS's own files (VGG16); EfficientNet-Lite0 stands for it without.",
    steps="The projector: steps of the optimiser.",
    space="The projector: one code per photograph (w), or one per layer (w+).",
    patience="The projector: after so many steps without gain go to the ramp-down; 0 for never.",
    pixel_weight="The projector: weight of the pixels beside the features; 0 as published.",
    keep_noise="The projector: keep the optimised noise maps in the file.",
)
@seed_option
@device_option
def invert(
    generator: Path,
    data: Path,
    out: Path,
    method: str,
    encoder: Path | None,
    start: Path | None,
    settings: InvertSettings,
    seed: int,
    device: str,
) -> None:
    """Find the latent code of each photograph.

    A run that was stopped goes on where it was: finished batches are kept beside the result. The record beside it,
    METHOD.stage.json, holds the seconds per photograph.

    \b
    Example:
        atlas invert --generator train/generator.safetensors --data dataset.zip --method projector \\
            --out latents/projector.safetensors
    """
    if method in ENCODERS:
        refuse_unused(f"with --method {method}", *FOR_THE_PROJECTOR)
    record = out.with_name(f"{out.stem}.stage.json")
    sources = InvertSources(generator, data, encoder, start)
    with progress_bar("invert") as progress:
        stage, work = invert_stage(method, sources, settings, seed, device, out, record, say, progress)
        run_stage(stage, work, log=say)
