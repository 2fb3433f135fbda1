"""``atlas train``: StyleGAN2-ADA on a dataset."""

from __future__ import annotations

from pathlib import Path

import click
from click.core import ParameterSource

from atlas.commands.settings import device_option, seed_option, settings_options
from atlas.commands.terminal import progress_bar, say
from atlas.errors import InputError
from atlas.preset import TrainSettings, override
from pipeline.gan.stages import train_stage

_file = click.Path(exists=True, dir_okay=False, path_type=Path)
_folder = click.Path(file_okay=False, path_type=Path)


# Options that say something only with some of --augment.
_AUGMENTED = {"target": ("ada",), "p": ("fixed",)} | dict.fromkeys(
    ("p_max", "blit", "geometry", "colour"), ("ada", "fixed")
)


def _refuse_idle_options(settings: TrainSettings) -> None:
    """Refuse what was asked for on the command line and would not be done."""
    context = click.get_current_context()
    for name, kinds in _AUGMENTED.items():
        given = context.get_parameter_source(name) is ParameterSource.COMMANDLINE
        if given and settings.augment not in kinds:
            option = next(p.opts[0] for p in context.command.params if p.name == name)
            raise InputError(
                f"{option} says nothing with --augment {settings.augment}: leave it out, or choose "
                f"--augment {' or '.join(kinds)}"
            )


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
    augment="Augmentation of what the discriminator sees: adaptive, at a fixed probability, or none.",
    target="What ADA steers the discriminator's confidence to.",
    p="Probability of the fixed augmentation.",
    p_max="Limit of the probability, ADA's or the fixed one.",
    blit="Augment by flips, quarter turns and shifts.",
    geometry="Augment by scale, rotation and stretch.",
    colour="Augment by colour.",
    mirror="Count mirrored photographs as further ones.",
    precision="fp16 on a GPU only; fp64 is for checks.",
    snapshot_kimg="Checkpoint every so many thousand images.",
)
@click.option(
    "--init-from",
    type=click.Path(exists=True, path_type=Path),
    help="Begin from the networks of a checkpoint (.safetensors, .pkl, .pt) or of another run's folder.",
)
@click.option("--start-over", is_flag=True, help="Lose what an earlier run left in the folder.")
@seed_option
@device_option
def train(
    data: Path,
    out: Path,
    settings: TrainSettings,
    init_from: Path | None,
    start_over: bool,
    seed: int,
    device: str,
) -> None:
    """Train StyleGAN2-ADA on a dataset; goes on where it stopped.

    Started again with the same options, a run that was stopped in whatever way goes on from its last checkpoint, and
    a finished one is left alone; with a larger --kimg it trains on. A folder that holds a run of other options is
    left alone too, unless --start-over is given.

    torchrun trains in several processes, on a GPU each or on one machine's CPUs; they end in the weights of one. The
    batch is not theirs: --config auto is published with a larger --batch for more of them (at 256 px 16, 32, 64, 64 for
    1, 2, 4, 8; at 512 px 8, 16, 32, 64), from which gamma and the average follow.

    \b
    Example:
        atlas train --data dataset.zip --out train --config narrow --kimg 100 --snapshot-kimg 10
        torchrun --nproc-per-node 4 -m atlas train --data dataset.zip --out train --device cuda --config auto --batch 32
    """
    from pipeline.processes import join_processes, run_stage_together

    _refuse_idle_options(settings)
    settings = override(settings, init=None if init_from is None else str(init_from))
    with progress_bar("train") as progress, join_processes(device) as processes:
        stage, work = train_stage(data, settings, seed, device, out, say, progress, processes)
        run_stage_together(stage, work, processes, start_over=start_over, keep=not start_over, log=say)
