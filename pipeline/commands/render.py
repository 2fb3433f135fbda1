"""``atlas render``: the grid into an archive."""

from __future__ import annotations

from pathlib import Path

import click

from atlas.commands.settings import device_option, seed_option, settings_options
from atlas.commands.terminal import progress_bar, say
from atlas.preset import RenderSettings
from atlas.stage import run_stage
from pipeline.render.stages import RenderSources, render_stage

_file = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command()
@click.argument("generator", type=_file)
@click.option("--boundaries", required=True, type=_file, help="boundaries.safetensors of `atlas boundaries`.")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="The archive, NAME.zarr.")
@settings_options(
    RenderSettings,
    method="Whose boundaries are walked, and whose codes inverted bases have.",
    bases="random:COUNT or inverted:FILE,FILE…",
    steps="Steps to each side of the base.",
    truncation="ψ of the random bases.",
    batch="Images per call of the generator.",
)
@click.option("--latents", type=_file, help="Codes of photographs, for inverted bases.")
@click.option("--data", type=_file, help="The dataset, for its licence and attribution.")
@click.option("--title", default="An inequality atlas", show_default=True)
@seed_option
@device_option
def render(
    generator: Path,
    boundaries: Path,
    out: Path,
    settings: RenderSettings,
    latents: Path | None,
    data: Path | None,
    title: str,
    seed: int,
    device: str,
) -> None:
    """Render the whole grid into an archive.

    \b
    Example:
        atlas render train/generator.safetensors --boundaries boundaries/boundaries.safetensors \\
            --steps 12 --bases random:60 --out streets.zarr
    """
    if out.suffix != ".zarr":
        raise click.UsageError(f"--out must end in .zarr, got {out}")
    sources = RenderSources(generator, boundaries, latents, data)
    record = out.with_name(f"{out.stem}.stage.json")
    with progress_bar("render") as progress:
        stage, work = render_stage(sources, settings, title, seed, device, out, record, progress)
        run_stage(stage, work, log=say)
