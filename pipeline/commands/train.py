"""``atlas train``: StyleGAN2-ADA on a dataset."""

from __future__ import annotations

from pathlib import Path

import click

from atlas.commands.settings import device_option, seed_option, settings_options
from atlas.commands.terminal import progress_bar, say
from atlas.preset import TrainSettings
from atlas.stage import run_stage
from pipeline.gan.stages import train_stage

_file = click.Path(exists=True, dir_okay=False, path_type=Path)
_folder = click.Path(file_okay=False, path_type=Path)


@click.command()
@click.option("--data", required=True, type=_file, help="A dataset.zip.")
@click.option("--out", required=True, type=_folder, help="Folder of the run.")
@settings_options(
    TrainSettings,
    config="What the hyperparameters follow.",
    kimg="Stop after so many thousand images.",
    batch="Images per iteration; here and below 0 means: as the configuration has it.",
    channel_base="The width at resolution r is channel-base / r …",
    channel_max="… but no more than this.",
    latent="Size of z and w.",
    gamma="Weight of R1.",
    augment="Adaptive discriminator augmentation.",
    target="What ADA steers the discriminator's confidence to.",
    p_max="Limit of ADA's probability.",
    mirror="Count mirrored photographs as further ones.",
    precision="fp16 on a GPU only.",
    snapshot_kimg="Checkpoint every so many thousand images.",
)
@seed_option
@device_option
def train(data: Path, out: Path, settings: TrainSettings, seed: int, device: str) -> None:
    """Train StyleGAN2-ADA on a dataset; goes on where it stopped.

    Started again with the same options, a run that was stopped in whatever way goes on from its last checkpoint, and
    a finished one is left alone; with a larger --kimg it trains on. Other options start it over.

    \b
    Example:
        atlas train --data dataset.zip --out train --config narrow --kimg 100 --snapshot-kimg 10
    """
    with progress_bar("train") as progress:
        stage, work = train_stage(data, settings, seed, device, out, say, progress)
        run_stage(stage, work, log=say)
