"""``atlas encoder``: the encoders that find codes in one pass, or a few."""

from __future__ import annotations

from pathlib import Path

import click

from atlas.commands.settings import device_option, seed_option, settings_options
from atlas.commands.terminal import progress_bar, say
from atlas.preset import ENCODERS, EncoderSettings
from pipeline.commands.options import refuse_unused
from pipeline.inversion.encoders.stages import encoder_stage

_file = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.group()
def encoder() -> None:
    """The encoders e4e and ReStyle: train one for a generator.

    \b
    Example:
        atlas encoder train --method e4e --generator generator.safetensors --data dataset.zip --out e4e.safetensors
    """


@encoder.command()
@click.option("--method", required=True, type=click.Choice(ENCODERS), help="Which encoder.")
@click.option("--generator", required=True, type=_file, help="generator.safetensors of `atlas train`.")
@click.option("--data", required=True, type=_file, help="A dataset.zip.")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="The encoder, METHOD.safetensors.")
@settings_options(
    EncoderSettings,
    backbone="full: as published, for a GPU; narrow: for small generators and processors.",
    steps="Stop after so many steps; here and below 0 means: as the backbone's configuration has it.",
    batch="Images per step.",
    optimizer="Ranger as published, or Adam.",
    lr="Learning rate.",
    generated="Share of a batch that the generator renders itself, from known codes; published: 0.",
    variant="What ReStyle refines with.",
    iterations="Passes of ReStyle.",
    similarity="Deep features whose direction is compared.",
    lpips="Folder with LPIPS's own files; EfficientNet-Lite0 stands for it without.",
    moco="MoCo v2's checkpoint; the similarity then is its.",
    stage_start="Step from which styles differ from the first …",
    stage_every="… one more every so many steps.",
    checkpoint="Checkpoint every so many steps.",
    mirror="Count mirrored photographs as further ones; published: yes.",
    half="Write the encoder's weights as float16.",
)
@seed_option
@device_option
def train(
    method: str,
    generator: Path,
    data: Path,
    out: Path,
    settings: EncoderSettings,
    seed: int,
    device: str,
) -> None:
    """Train an encoder for a generator; goes on where it stopped.

    Photographs that are held out for comparing inversions are not trained on. State, statistics and sheets of
    photographs and their reconstructions lie in METHOD.training beside the encoder. Started again with the same
    options, a run that was stopped in whatever way goes on from its last checkpoint, and a finished one is left alone;
    with more --steps it trains on. Other options start it over.

    torchrun trains in several processes, on a GPU each or on one machine's CPUs; they end in the weights of one.

    \b
    Example:
        atlas encoder train --method e4e --generator train/generator.safetensors --data dataset.zip \\
            --out encoders/e4e.safetensors --steps 1500
        torchrun --nproc-per-node 4 -m atlas encoder train --method e4e --device cuda --backbone full --batch 32 \\
            --generator train/generator.safetensors --data dataset.zip --out encoders/e4e.safetensors
    """
    from pipeline.processes import join_processes, run_stage_together

    if method != "restyle":
        refuse_unused(f"with --method {method}", "variant", "iterations")
    elif settings.variant == "psp":
        refuse_unused("with --variant psp, whose styles all differ from the start", "stage_start", "stage_every")
    record = out.with_name(f"{out.stem}.stage.json")
    with progress_bar("encoder") as progress, join_processes(device) as processes:
        stage, work = encoder_stage(
            method, generator, data, settings, seed, device, out, record, say, progress, processes
        )
        run_stage_together(stage, work, processes, log=say)
