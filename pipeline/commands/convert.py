"""``atlas convert``: checkpoints from one format to another."""

from __future__ import annotations

from pathlib import Path

import click

from atlas.commands.terminal import say

_file = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command()
@click.argument("source", metavar="IN", type=_file)
@click.argument("target", metavar="OUT", type=click.Path(dir_okay=False, path_type=Path))
@click.option(
    "--network",
    type=click.Choice(["generator", "discriminator"]),
    help="Which one to take  [default: the generator, or else what there is]",
)
@click.option(
    "--dtype",
    type=click.Choice(["float32", "float16"]),
    default="float32",
    show_default=True,
    help="Of the numbers in a .safetensors: float16 makes it half as large.",
)
def convert(source: Path, target: Path, network: str | None, dtype: str) -> None:
    """Convert a network's checkpoint from one format to another.

    IN is NVIDIA's .pkl (of stylegan2-ada-pytorch; its G_ema is the generator), a .pt of rosinality's stylegan2-pytorch
    or of e4e, pSp or ReStyle (their decoder), or a .safetensors. OUT is .safetensors, or .pt for rosinality. Nothing in
    a file is ever run.

    \b
    Example:
        atlas convert network.pkl generator.safetensors
    """
    from pipeline.gan.convert import convert as convert_network
    from pipeline.gan.convert import describe

    done = convert_network(source, target, network, dtype)
    for note in done.notes:
        say(f"convert: {note}")
    click.echo(
        f"{source}: {done.kind}, {describe(done.architecture)} → "
        f"{target}: {done.tensors} tensors, {done.bytes / 1e6:.1f} MB"
    )
