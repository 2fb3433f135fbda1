"""`atlas dataset fetch`: photographs from Mapillary or Google Street View."""

from __future__ import annotations

import os
from pathlib import Path

import click

from atlas.commands.terminal import progress_bar, say
from atlas.errors import InputError
from pipeline.photos.fetch.fetching import KEY_VARIABLES, TABLE, Outcome
from pipeline.photos.fetch.fetching import fetch as fetch_photographs
from pipeline.photos.fetch.google import GoogleOptions
from pipeline.photos.fetch.mapillary import MapillaryOptions
from pipeline.photos.fetch.request import FetchRequest
from pipeline.photos.fetch.terms import GOOGLE, MAPILLARY

_PATH = click.Path(path_type=Path)
_MAPILLARY, _GOOGLE = MapillaryOptions(), GoogleOptions()


@click.command()
@click.option("--source", type=click.Choice(["mapillary", "google"]), default="mapillary", show_default=True)
@click.option("--near", metavar="LAT,LON", help="Middle of a circle to look in; the paper's is 51.508,-0.128.")
@click.option("--radius", type=float, default=15.0, show_default=True, help="Of the circle, in kilometres.")
@click.option("--areas", type=_PATH, help="Look inside these areas only: GeoJSON, longitude and latitude.")
@click.option("--imd", type=_PATH, help="File 7 of the Indices of Multiple Deprivation, for --stratify.")
@click.option("--stratify", type=click.Choice(["health", "income", "education"]), help="As many points in each decile.")
@click.option("--roads", type=_PATH, help="Road lines as GeoJSON; points are drawn along them. Google needs them.")
@click.option("--points", type=int, default=100, show_default=True, help="How many places to look at.")
@click.option("--per-point", type=int, default=1, show_default=True, help="Photographs at one place, at most.")
@click.option("--size", type=int, help="Pixels: Google up to 640 [640]; Mapillary 256, 1024 or 2048 [1024].")
@click.option("--side", type=click.Choice(["left", "right", "either"]), help="Of travel [Google left, else either].")
@click.option("--fov", type=float, default=_GOOGLE.fov, show_default=True, help="Google: field of view in degrees.")
@click.option("--pitch", type=float, default=_GOOGLE.pitch, show_default=True, help="Google: degrees upwards.")
@click.option("--box", type=float, default=_MAPILLARY.box, show_default=True, help="Mapillary: metres around a point.")
@click.option(
    "--tolerance", type=float, default=_MAPILLARY.tolerance, show_default=True, help="Mapillary: degrees off square."
)
@click.option("--permission", default="", help="Google: who permitted storing and machine learning, when, for what.")
@click.option("--seed", type=int, default=1, show_default=True, help="Of the points.")
@click.option("--rate", type=float, default=5.0, show_default=True, help="Requests a second, at most.")
@click.option("--max-requests", type=int, help="Stop after so many requests; the same command goes on later.")
@click.option("--endpoint", default="", help="Another address of the API, such as a proxy's.")
@click.option("--out", type=_PATH, default=Path("photographs"), show_default=True, help="Folder to fill.")
def fetch(
    source: str,
    near: str | None,
    radius: float,
    areas: Path | None,
    imd: Path | None,
    stratify: str | None,
    roads: Path | None,
    points: int,
    per_point: int,
    size: int | None,
    side: str | None,
    fov: float,
    pitch: float,
    box: float,
    tolerance: float,
    permission: str,
    seed: int,
    rate: float,
    max_requests: int | None,
    endpoint: str,
    out: Path,
) -> None:
    """Fetch photographs around sampled points, with their headings.

    The key comes from the environment: MAPILLARY_ACCESS_TOKEN or GOOGLE_MAPS_API_KEY. Run the same command again to
    go on with a fetch that was stopped, refused or killed; nothing is fetched twice.

    Mapillary's photographs are CC BY-SA 4.0; each one's contributor is kept. Google's terms forbid storing Street
    View images and machine learning on them without a written agreement, which --permission must name.

    \b
    Example:
        export MAPILLARY_ACCESS_TOKEN=…
        atlas dataset fetch --near 51.508,-0.128 --radius 15 --roads roads.geojson \\
            --points 1000 --max-requests 5000 --out photographs
        atlas dataset import photographs --photos-csv photographs/photos.csv \\
            --areas areas.geojson --imd file7.csv --look-ahead 10 --out dataset.zip
    """
    if rate <= 0 or rate > 100:
        raise InputError(f"--rate must be more than 0 and at most 100 requests a second, got {rate:g}")
    if max_requests is not None and max_requests < 1:
        raise InputError(f"--max-requests must be at least 1, got {max_requests}")
    options: GoogleOptions | MapillaryOptions
    if source == "google":
        if side == "either":
            raise InputError("Google's pictures are taken to one side: --side must be left or right, got either")
        options = GoogleOptions(size=size or _GOOGLE.size, fov=fov, pitch=pitch, side=side or _GOOGLE.side)
    else:
        options = MapillaryOptions(
            size=size or _MAPILLARY.size, box=box, side=side or _MAPILLARY.side, tolerance=tolerance
        )
        if roads is None:
            say("without --roads nothing tells which way a camera looks: any heading is taken")
    request = FetchRequest(
        options=options,
        points=points,
        near=_place(near),
        radius_km=radius,
        areas=areas,
        imd=imd,
        stratify=stratify or "",
        roads=roads,
        per_point=per_point,
        seed=seed,
        permission=permission,
    )
    say((GOOGLE if source == "google" else MAPILLARY).summary)
    key = os.environ.get(KEY_VARIABLES[source], "").strip()
    with progress_bar("Looking at points") as progress:
        outcome = fetch_photographs(
            request, out, key, rate=rate, max_requests=max_requests, endpoint=endpoint, progress=progress
        )
    click.echo(_describe(outcome, out))


def _place(near: str | None) -> tuple[float, float] | None:
    if near is None:
        return None
    try:
        lat, lon = (float(part) for part in near.split(","))
    except ValueError:
        raise InputError(f"--near must be LAT,LON in degrees, such as 51.508,-0.128, got {near!r}") from None
    return lat, lon


def _describe(outcome: Outcome, out: Path) -> str:
    parts = [f"{out / TABLE}: {outcome.photographs} photographs"]
    parts.append(f"{outcome.looked} of {outcome.points} points looked at, {outcome.empty} with nothing new")
    if outcome.gone:
        parts.append(f"{outcome.gone} gone from their source")
    parts.append(f"{outcome.requests} requests")
    if not outcome.finished:
        parts.append("stopped by --max-requests: the same command goes on")
    return "; ".join(parts)
