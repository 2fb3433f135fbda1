"""``atlas site``: packs and a report into the static site."""

from __future__ import annotations

from pathlib import Path

import click

from atlas.commands.settings import settings_options
from atlas.commands.terminal import progress_bar, say
from atlas.preset import SiteSettings
from atlas.stage import run_stage
from atlas.stages import site_stage


@click.command()
@click.argument("packs", type=click.Path(path_type=Path))
@click.option("--report", type=click.Path(path_type=Path), help="report.json of `atlas boundaries`, for the tables.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("site"), show_default=True, help="The folder.")
@settings_options(
    SiteSettings,
    url="Address of the published site, for links that must be absolute.",
    authors="Who made it, for the page.",
)
def site(packs: Path, report: Path | None, out: Path, settings: SiteSettings) -> None:
    """Build the static site from packs and a report.

    The folder works on any static host, under any path, and opened from disk.

    \b
    Example:
        atlas site packs --report runs/calibration/boundaries/report.json --out site
    """
    with progress_bar("site") as progress:
        stage, work = site_stage(packs, report, settings, out, out / "stage.json", progress)
        run_stage(stage, work, log=say)
    click.echo(f"Open {out / 'index.html'} in a browser, or run: atlas serve {out}")
