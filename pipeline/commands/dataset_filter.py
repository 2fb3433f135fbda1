"""`atlas dataset filter`: which photographs are usable."""

from __future__ import annotations

from pathlib import Path

import click

from atlas.commands.terminal import echo_json, progress_bar
from atlas.errors import InputError
from pipeline.photos.filter.filtering import (
    DOUBTFUL,
    SHEET,
    TABLE,
    FilterSettings,
    describe,
    filter_photographs,
    write_labelling_page,
)
from pipeline.photos.filter.labels import PAGE

_PATH = click.Path(path_type=Path)
_USUAL = FilterSettings()


@click.command("filter")
@click.argument("photos", type=_PATH)
@click.option("--photos-csv", type=_PATH, required=True, help="Table: file, lat, lon, and any others.")
@click.option("--label", type=int, help="Only write a page on which to label so many photographs by hand.")
@click.option("--labels", type=_PATH, multiple=True, help="Table of labels: file, usable. May be given again.")
@click.option("--threshold", type=float, default=_USUAL.threshold, show_default=True, help="Score to be kept, 0 to 1.")
@click.option("--sharpness", type=float, default=_USUAL.sharpness, show_default=True, help="Blurred below this.")
@click.option("--brightness", type=float, default=_USUAL.brightness, show_default=True, help="Dark below this.")
@click.option("--bits", type=int, default=_USUAL.bits, show_default=True, help="Near-duplicates: bits of 64; -1: none.")
@click.option("--metres", type=float, default=_USUAL.metres, show_default=True, help="Near-duplicates: cameras apart.")
@click.option("--doubtful", type=int, default=_USUAL.doubtful, show_default=True, help="How many to look at again.")
@click.option("--seed", type=int, default=_USUAL.seed, show_default=True, help="Of the choice and of the splits.")
@click.option("--device", default="cpu", show_default=True, help="Where PyTorch runs: cpu, cuda, cuda:1 …")
@click.option("--out", type=_PATH, default=Path("filtered"), show_default=True, help="Folder to write.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def filter_(
    photos: Path,
    photos_csv: Path,
    label: int | None,
    labels: tuple[Path, ...],
    threshold: float,
    sharpness: float,
    brightness: float,
    bits: int,
    metres: float,
    doubtful: int,
    seed: int,
    device: str,
    out: Path,
    as_json: bool,
) -> None:
    """Tell which of PHOTOS (a zip or a folder) are usable.

    First --label writes a page; open it, give labels with two keys, save labels.csv. Then --labels learns from them,
    scores all, and puts the doubtful ones on a sheet and on a page of their own. Without labels only blur, darkness
    and near-duplicates count.

    \b
    Example:
        atlas dataset filter photos.zip --photos-csv photos.csv --label 300 --out labelling
        atlas dataset filter photos.zip --photos-csv photos.csv --labels labels.csv --out filtered
        atlas dataset import photos.zip --photos-csv photos.csv --keep filtered/filter.csv \\
            --areas areas.geojson --imd file7.csv --out dataset.zip
    """
    if label is not None:
        number = write_labelling_page(photos, photos_csv, out, label, seed, labels)
        click.echo(f"{out / PAGE}: open it and label {number} photographs")
        return
    if bits < -1:
        raise InputError(f"--bits must be -1 to 64, got {bits}")
    settings = FilterSettings(threshold, sharpness, brightness, bits, metres, doubtful, seed)
    with progress_bar("Looking at photographs") as progress:
        report = filter_photographs(photos, photos_csv, out, settings, labels, device=device, progress=progress)
    if as_json:
        echo_json(report)
        return
    for line in describe(report):
        click.echo(line)
    click.echo(f"which, and why: {out / TABLE}")
    if labels and doubtful:
        click.echo(f"look at the doubtful ones: {out / SHEET}, and label them: {out / DOUBTFUL / PAGE}")
