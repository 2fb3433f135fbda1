"""`atlas dataset`: make and check datasets."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import click

from atlas.commands.terminal import echo_json, progress_bar
from atlas.stage import run_stage
from pipeline.commands.dataset_fetch import fetch
from pipeline.commands.dataset_filter import filter_
from pipeline.photos.checking import Facts, check_dataset
from pipeline.photos.dataset import open_dataset
from pipeline.photos.importing import describe
from pipeline.photos.joining import JoinSettings
from pipeline.photos.mapping import parse_options
from pipeline.photos.repair import SQUARES
from pipeline.photos.sheet import write_sheet
from pipeline.photos.stages import calibration_stage, import_stage

_PATH = click.Path(path_type=Path)


@click.group()
def dataset() -> None:
    """Photographs, areas and deprivation: make and check a dataset.

    \b
    Example:
        atlas dataset calibration --photographs 2000 --size 64 --out dataset.zip
        atlas dataset check dataset.zip
    """


dataset.add_command(fetch)
dataset.add_command(filter_)


@dataset.command("import")
@click.argument("photos", type=_PATH)
@click.option("--photos-csv", type=_PATH, required=True, help="Table: file, lat, lon, perhaps taken, and any others.")
@click.option("--areas", type=_PATH, required=True, help="Boundaries as GeoJSON, longitude and latitude.")
@click.option("--imd", type=_PATH, required=True, help="File 7 of the Indices of Multiple Deprivation, as CSV.")
@click.option("--size", type=int, default=64, show_default=True, help="Side in pixels, a power of two, 4 to 1024.")
@click.option("--out", type=_PATH, default=Path("dataset.zip"), show_default=True, help="The dataset to write.")
@click.option("--licence", default="", help="Licence of the photographs, kept in the dataset.")
@click.option("--attribution", default="", help="Who is to be named for the photographs.")
@click.option(
    "--square",
    type=click.Choice(SQUARES),
    default="crop",
    show_default=True,
    help="Cut out the centred square, or keep all between black bars.",
)
@click.option("--keep", type=_PATH, help="Table of the files to keep, such as the filter's filter.csv.")
@click.option("--look-ahead", type=float, default=0.0, help="Metres from camera to house, along the column heading.")
@click.option(
    "--column", "columns", multiple=True, help="Of a table that is no File 7: area=HEADING, AXIS=KIND:END:HEADING."
)
def import_(
    photos: Path,
    photos_csv: Path,
    areas: Path,
    imd: Path,
    size: int,
    out: Path,
    licence: str,
    attribution: str,
    square: str,
    keep: Path | None,
    look_ahead: float,
    columns: tuple[str, ...],
) -> None:
    """Join PHOTOS (a zip or a folder) to areas and their deprivation.

    Photographs are turned upright, made RGB, made square and resized. Those outside every area, or in an
    area without ranks, are left out and counted.

    A table that is no File 7 is read by --column, once for area and for each axis: KIND is rank or score, END is low
    or high, whichever is the deprived end.

    \b
    Example:
        atlas dataset import photos.zip --photos-csv photos.csv \\
            --areas areas.geojson --imd file7.csv --size 64 --out dataset.zip
        atlas dataset import photos.zip --photos-csv photos.csv --look-ahead 10 \\
            --areas zones.geojson --imd zones.csv --column "area=DZ" --column "health=score:high:Illness" \\
            --column "income=rank:low:Income rank" --column "education=score:low:Attainment"
    """
    join = JoinSettings(look_ahead=look_ahead, columns=parse_options(columns), keep=keep)
    with progress_bar("Importing photographs") as progress:
        stage, work = import_stage(
            photos, photos_csv, areas, imd, size, licence, attribution, out, _record(out), progress, join, square
        )
        run_stage(stage, work, log=click.echo)
    click.echo(f"{out}: {describe(open_dataset(out).meta['counts'])}")


@dataset.command()
@click.option("--photographs", type=int, default=2000, show_default=True, help="How many to draw.")
@click.option("--size", type=int, default=64, show_default=True, help="Side in pixels, a power of two, 4 to 1024.")
@click.option("--seed", type=int, default=1, show_default=True, help="Of the map and of every photograph.")
@click.option("--out", type=_PATH, default=Path("dataset.zip"), show_default=True, help="The dataset to write.")
@click.option("--sheet", type=_PATH, help="Also write the first 32 on one JPEG.")
def calibration(photographs: int, size: int, seed: int, out: Path, sheet: Path | None) -> None:
    """Draw the calibration street: facades with known attributes and planted effects.

    \b
    Example:
        atlas dataset calibration --photographs 4000 --size 128 --out calibration.zip --sheet street.jpg
    """
    with progress_bar("Drawing the street") as progress:
        stage, work = calibration_stage(photographs, size, seed, out, _record(out), progress)
        run_stage(stage, work, log=click.echo)
    click.echo(f"{out}: {photographs} photographs, {size} × {size}")
    if sheet is not None:
        write_sheet(out, sheet)
        click.echo(f"{sheet}: the first of them")


@dataset.command()
@click.argument("path", metavar="DATASET", type=_PATH)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def check(path: Path, as_json: bool) -> None:
    """Check DATASET and print what it holds.

    \b
    Example:
        atlas dataset check dataset.zip
    """
    facts = check_dataset(path)
    if as_json:
        echo_json(dataclasses.asdict(facts))
    else:
        _print(path, facts)


def _record(out: Path) -> Path:
    return out.with_name(f"{out.stem}.stage.json")


def _print(path: Path, facts: Facts) -> None:
    among = f" of {facts.study_areas}" if facts.study_areas else ""
    click.echo(f"{path}: {facts.photographs} photographs, {facts.size} × {facts.size}")
    click.echo(f"in {facts.areas}{among} areas and {facts.blocks} blocks of 1 km")
    for name, text in (("licence", facts.licence), ("attribution", facts.attribution)):
        click.echo(f"{name}: {text or 'not stated'}")
    for reason, number in facts.counts.get("dropped", {}).items():
        click.echo(f"dropped, {reason}: {number}")
    click.echo("photographs per tenth of areas, the most deprived first:")
    for axis, counts in facts.per_decile.items():
        click.echo(f"  {axis:<10}" + "".join(f"{count:>7}" for count in counts))
    click.echo("rank correlation over photographs:")
    for pair, value in facts.correlation.items():
        click.echo(f"  {pair:<18}" + ("none" if value is None else f"{value:.2f}"))
    low, middle, high = facts.per_area
    click.echo(f"photographs in an area that has any: {low} to {high}, median {middle:g}")
    click.echo(
        f"look like another: {facts.duplicates['anywhere']} anywhere, {facts.duplicates['near by']} within 25 m of it"
    )
    click.echo("a fifth held out, and how far from the rest each is:")
    for unit, apart in facts.splits.items():
        held_out = f"{apart['test']:>7} of {apart['test'] + apart['train']}"
        metres = f"median {apart['median_metres']:g} m, nearest {apart['nearest_metres']:g} m"
        click.echo(f"  by {unit:<12}{held_out}, {metres}, {apart['within_25_m']:.1%} within 25 m")
    for warning in facts.warnings:
        click.echo(f"warning: {warning}")
