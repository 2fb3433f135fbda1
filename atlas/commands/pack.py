"""``atlas pack``: an archive into packs."""

from __future__ import annotations

from pathlib import Path

import click

from atlas.commands.settings import settings_options
from atlas.commands.terminal import progress_bar, say
from atlas.preset import PackSettings
from atlas.stage import run_stage
from atlas.stages import pack_stage


@click.command()
@click.argument("archive", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), default=Path("packs"), show_default=True, help="The folder.")
@settings_options(PackSettings, quality="JPEG quality, 1 to 100.")
def pack(archive: Path, out: Path, settings: PackSettings) -> None:
    """Turn an archive into the packs that a browser loads.

    Packs that are up to date are left alone; an interrupted run goes on where it stopped.

    \b
    Example:
        atlas pack runs/calibration/archive/calibration.zarr --out packs
    """
    with progress_bar("pack") as progress:
        stage, work = pack_stage(archive, settings, out, out / "stage.json", progress)
        run_stage(stage, work, log=say)
