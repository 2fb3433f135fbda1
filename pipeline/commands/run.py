"""``atlas run`` and ``atlas demo``: the whole chain."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import click

from atlas.commands.settings import device_option
from atlas.commands.terminal import progress_bar, say
from atlas.preset import Preset, find_preset, load_preset
from pipeline.run import Chain, RunFolder, run_chain, with_sample
from pipeline.torchrun import refuse_several

_folder = click.Path(file_okay=False, path_type=Path)
_existing = click.Path(exists=True, file_okay=False, path_type=Path)
_stage = click.Choice(Chain.NAMES)


@click.command()
@click.argument("preset")
@click.option("--data", type=_existing, help="Folder of the input files.")
@click.option("--out", type=_folder, help="Folder of the run.  [default: runs/NAME]")
@click.option("--site", "site_folder", type=_folder, help="Folder of the site.  [default: OUT/site]")
@click.option("--until", "last", type=_stage, help="Stop after this stage.")
@click.option("--from", "first", type=_stage, help="Run this stage and all that follow, even if up to date.")
@click.option("--seed", type=click.IntRange(0, 2**31 - 1), help="Instead of the preset's.")
@device_option
def run(
    preset: str,
    data: Path | None,
    out: Path | None,
    site_folder: Path | None,
    last: str | None,
    first: str | None,
    seed: int | None,
    device: str,
) -> None:
    """Run all stages of one atlas, skipping what is up to date.

    PRESET is a TOML file, or the name of one that is shipped: calibration, london, paper. A run that was stopped, in
    whatever way, goes on where it was when the same command is given again.

    \b
    Example:
        atlas run presets/london.toml --data photographs --out runs/london
    """
    refuse_several("atlas run")
    chosen = load_preset(find_preset(preset))
    if seed is not None:
        chosen = dataclasses.replace(chosen, seed=seed)
    _run(chosen, out, site_folder, data=data, device=device, first=first, last=last)


@click.command()
@click.option("--out", type=_folder, help="Folder of the run.  [default: runs/calibration]")
@click.option("--site", "site_folder", type=_folder, default=Path("site"), help="Folder of the site.  [default: site]")
@device_option
def demo(out: Path | None, site_folder: Path, device: str) -> None:
    """Build the embedded default atlas, end to end, into ./site.

    Streets are drawn and inverted by networks that come with the software, boundaries fitted and validated, the grid
    is rendered, packed and made a site: some minutes on two cores, nothing needed but this installation. To train the
    networks anew, in hours: atlas run calibration --from train.

    \b
    Example:
        atlas demo
    """
    refuse_several("atlas demo")
    _run(load_preset(find_preset("calibration")), out, site_folder, data=None, device=device, first=None, last=None)


def _run(
    preset: Preset,
    out: Path | None,
    site_folder: Path | None,
    *,
    data: Path | None,
    device: str,
    first: str | None,
    last: str | None,
) -> None:
    folder = RunFolder(out or Path("runs") / preset.name, preset.name, site_folder)
    chain = Chain(preset, with_sample(folder, preset, first, say), data, device, say)
    run_chain(chain, first=first, last=last, bars=progress_bar)
    if last in (None, Chain.NAMES[-1]):
        page = folder.site / "index.html"
        click.echo(f"Open {page} in a browser (a double click does), or run: atlas serve {folder.site}")
