"""From geotagged photographs, boundaries and ranks to a dataset."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from atlas.errors import InputError
from atlas.files import require_space
from atlas.grid import AXES
from atlas.progress import Progress, silent
from pipeline.photos.areas import read_areas
from pipeline.photos.dataset import Photo, check_size, encode_png, write_encoded
from pipeline.photos.joining import JoinSettings, positions, read_acquisition
from pipeline.photos.keep import keep_listed
from pipeline.photos.listing import Listed, read_listing
from pipeline.photos.mapping import read_ranks
from pipeline.photos.pool import ordered_map
from pipeline.photos.region import Region, cell, make_region, per_decile, place
from pipeline.photos.repair import REPAIRS, RESIZE_FILTER, SQUARES, DamagedError, repair
from pipeline.photos.sources import Source, open_source

OVERALL_ATTRIBUTE = "imd_rank"
_NAMED_IN_ERRORS = 3
_BY_CAMERA = JoinSettings()


def import_photographs(
    photos: Path,
    photos_csv: Path,
    areas: Path,
    imd: Path,
    size: int,
    out: Path,
    *,
    licence: str = "",
    attribution: str = "",
    join: JoinSettings = _BY_CAMERA,
    square: str = "crop",
    workers: int | None = None,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Join photographs to areas and ranks, make them square RGB of one size, and write ``out``.

    A photograph outside every area, or in an area without ranks, is left out and counted. Photographs are numbered in
    the order of ``photos_csv``.

    Args:
        photos: zip file or folder.
        photos_csv: file, lat, lon and perhaps taken; further columns are carried as they are.
        areas: GeoJSON boundaries; together with ``imd`` they are the study region of the percentiles.
        imd: the government's File 7, or another country's table with ``join.columns``.
        size: side in pixels, a power of two, 4 … 1024.
        out: the dataset to write.
        licence: of the photographs; "" takes that of the fetch they come from, if they do.
        attribution: who is to be named; likewise.
        join: which photographs are kept, from which point they are joined, by which columns.
        square: how a photograph that is none becomes a square, see `repair`.
        workers: processes; None for one per core.
        progress: is told how many photographs are done.

    Returns:
        The counts that are written to ``dataset-meta.json``: listed, imported, dropped by reason,
        repaired by kind.

    Raises:
        InputError: a table, boundary or size that cannot be used; photographs that are listed and absent, or damaged
            (all are looked at, the first few are named); no photograph in any area. Nothing is written then.
    """
    check_size(size)
    if square not in SQUARES:
        raise InputError(f"photographs become square by {' or '.join(SQUARES)}, not by {square!r}")
    everything = read_listing(photos_csv)
    listed, filtered = (everything, {}) if join.keep is None else keep_listed(everything, join.keep)
    acquisition = read_acquisition(photos_csv)
    table = read_ranks(imd, join.columns)
    boundaries = read_areas(areas, table)
    region = make_region(boundaries, table)
    lat, lon = positions(listed, join.look_ahead, photos_csv)
    places = place(boundaries, region, lon, lat)
    kept = [(photo, int(row)) for photo, row in zip(listed, places.rows, strict=True) if row >= 0]
    if not kept:
        raise InputError(f"none of the {len(listed)} photographs in {photos_csv} lies in an area of {areas} with ranks")
    require_space(out.parent, len(kept) * (size * size * 3 + 1024), f"the dataset {out.name}")
    repaired = Counter(dict.fromkeys(REPAIRS, 0))
    counts = {
        "listed": len(everything),
        "imported": len(kept),
        "dropped": {**filtered, **places.dropped},
        "repaired": repaired,
    }
    meta = {
        "licence": licence or str(acquisition.get("licence", "")),
        "attribution": attribution or str(acquisition.get("attribution", "")),
        **({"acquisition": acquisition} if acquisition else {}),
        "source": {"photos": photos.name, "photos_csv": photos_csv.name, "areas": areas.name, "imd": imd.name},
        "joined_by": "house" if join.look_ahead else "camera",
        **join.record(),
        "boundary_year": table.year,
        "areas": len(region.codes),
        "resize_filter": RESIZE_FILTER,
        "square": square,
        "axes": list(AXES),
        "counts": counts,
        "per_decile": per_decile(region.percentiles[[row for _, row in kept]]),
    }
    with open_source(photos) as source:
        require_present(source, [photo.file for photo in listed], photos, photos_csv)
        files = _files(source, [photo.file for photo, _ in kept])
        pictures = ordered_map(partial(_picture, size, square), files, workers)
        table_rows = (_row(photo, region, row, photos.name) for photo, row in kept)
        write_encoded(out, _sound(table_rows, pictures, len(kept), repaired, photos, progress), meta)
    return counts


def require_present(source: Source, files: Sequence[str], photos: Path, photos_csv: Path) -> None:
    """Refuse a table that lists photographs which are not there.

    Raises:
        InputError: the message names the first few.
    """
    absent = source.absent(files)
    if absent:
        raise InputError(
            f"{len(absent)} of the {len(files)} photographs listed in {photos_csv} are not in {photos}: {_some(absent)}"
        )


def _some(names: Sequence[str]) -> str:
    more = len(names) - _NAMED_IN_ERRORS
    return ", ".join(names[:_NAMED_IN_ERRORS]) + (f" and {more} more" if more > 0 else "")


def _row(photo: Listed, region: Region, row: int, source: str) -> Photo:
    overall = {} if region.overall is None else {OVERALL_ATTRIBUTE: str(region.overall[row])}
    health_rank, income_rank, education_rank = region.ranks[row].tolist()
    health, income, education = region.percentiles[row].tolist()
    return Photo(
        file="",
        source=source,
        source_id=photo.file,
        lat=photo.lat,
        lon=photo.lon,
        taken=photo.taken,
        area=region.codes[row],
        ranks=(health_rank, income_rank, education_rank),
        percentiles=(health, income, education),
        group=cell(photo.lat, photo.lon),
        attributes={**photo.attributes, **overall},
    )


def _files(source: Source, names: Iterable[str]) -> Iterator[bytes | str]:
    """Yield each photograph's file, or why it cannot be read."""
    for name in names:
        try:
            yield source.read(name)
        except InputError as error:
            yield str(error)


def _picture(size: int, square: str, file: bytes | str) -> tuple[bytes, tuple[str, ...], str]:
    """Return one photograph as (PNG, repairs, "") or, where that cannot be, (nothing, nothing, why)."""
    if isinstance(file, str):
        return b"", (), file
    try:
        repaired = repair(file, size, square)
    except DamagedError as error:
        return b"", (), str(error)
    return encode_png(repaired.image), repaired.repairs, ""


def _sound(
    rows: Iterable[Photo],
    pictures: Iterable[tuple[bytes, tuple[str, ...], str]],
    total: int,
    repaired: Counter[str],
    photos: Path,
    progress: Progress,
) -> Iterator[tuple[Photo, bytes]]:
    """Yield the sound photographs, count their repairs, and refuse the whole at the end if some were damaged."""
    damaged: list[str] = []
    for done, (photo, (png, repairs, fault)) in enumerate(zip(rows, pictures, strict=True), start=1):
        progress(done, total)
        if fault:
            damaged.append(f"{photo.source_id} ({fault})")
            continue
        repaired.update(repairs)
        yield photo, png
    if damaged:
        raise InputError(
            f"{len(damaged)} of the {total} photographs in {photos} cannot be decoded: {_some(damaged)}; "
            "replace them or take their rows out of the table"
        )


def describe(counts: Mapping[str, Any]) -> str:
    """Return the counts of an import as one line for a person."""
    dropped = [f"{number} {reason}" for reason, number in counts["dropped"].items() if number]
    repaired = [f"{number} {kind}" for kind, number in counts["repaired"].items() if number]
    parts = [f"{counts['imported']} of {counts['listed']} photographs imported"]
    if dropped:
        parts.append(f"dropped: {', '.join(dropped)}")
    if repaired:
        parts.append(f"repaired: {', '.join(repaired)}")
    return "; ".join(parts)
