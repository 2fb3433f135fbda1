"""``atlas site``: packs and a report into the static site."""

from __future__ import annotations

from pathlib import Path

import click

from atlas.commands.terminal import progress_bar, say
from atlas.preset import SiteSettings, override
from atlas.stage import run_stage
from atlas.stages import site_stage


@click.command()
@click.argument("packs", type=click.Path(path_type=Path))
@click.option("--report", type=click.Path(path_type=Path), help="report.json of `atlas boundaries`, for the tables.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("site"), show_default=True, help="The folder.")
@click.option("--url", help="Address of the published site, for links that must be absolute.")
@click.option("--authors", help="Who made it, for the page.")
def site(packs: Path, report: Path | None, out: Path, url: str | None, authors: str | None) -> None:
    """Build the static site from packs and a report.

    The folder works on any static host, under any path, and opened from disk.

    \b
    Example:
        atlas site packs --report runs/calibration/boundaries/report.json --out site
    """
    settings = override(SiteSettings(), url=url, authors=authors)
    with progress_bar("site") as progress:
        stage, work = site_stage(packs, report, settings, out, out / "stage.json", progress)
        run_stage(stage, work, log=say)
    click.echo(f"Open {out / 'index.html'} in a browser, or run: atlas serve {out}")
