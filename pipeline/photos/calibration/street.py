"""Making the dataset of the calibration street."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np

from atlas.files import require_space
from atlas.grid import AXES
from atlas.progress import Progress, silent
from pipeline.photos.calibration.attributes import EXPLAINED, PLANTED, Facade, sample_facade, texture_stream
from pipeline.photos.calibration.drawing import draw
from pipeline.photos.calibration.map import StreetMap, choose_place, make_map
from pipeline.photos.dataset import Photo, check_size, encode_png, write_encoded
from pipeline.photos.pool import ordered_map
from pipeline.photos.region import cell, per_decile, percentiles

SOURCE = "calibration street"
LICENCE = "CC0-1.0"
ATTRIBUTION = "Drawn by the inequality atlas; no place or person is shown."


def make_calibration(
    out: Path,
    *,
    photographs: int,
    size: int,
    seed: int,
    workers: int | None = None,
    progress: Progress = silent,
) -> None:
    """Draw the calibration street and write it as a dataset.

    Photograph ``i`` of a seed is the same however many there are, and the same scene at any size.

    Args:
        out: the dataset to write.
        photographs: how many.
        size: side in pixels, a power of two, 4 … 1024.
        seed: of the map and of every photograph.
        workers: processes; None for one per core.
        progress: is told how many photographs are done.

    Raises:
        InputError: the size is no power of two, or there are to be no photographs.
    """
    check_size(size)
    require_space(out.parent, photographs * (size * size * 3 + 2048), f"the dataset {out.name}")
    street_map = make_map(seed)
    shares = percentiles(street_map.ranks)
    places = [choose_place(street_map, seed, index) for index in range(photographs)]
    scores = street_map.scores
    scenes = [(index, scores[area]) for index, (area, _, _) in enumerate(places)]
    pictures = ordered_map(partial(_picture, size, seed), scenes, workers)
    areas = [area for area, _, _ in places]
    meta = {
        "licence": LICENCE,
        "attribution": ATTRIBUTION,
        "source": {"calibration": {"seed": seed}},
        "areas": len(street_map.areas.codes),
        "axes": list(AXES),
        "planted": PLANTED,
        "explained": EXPLAINED,
        "counts": {"listed": photographs, "imported": photographs, "dropped": {}},
        "per_decile": per_decile(shares[areas]),
    }

    def items() -> Iterator[tuple[Photo, bytes]]:
        for index, (facade, png) in enumerate(pictures):
            yield _photo(index, places[index], facade, street_map, shares), png
            progress(index + 1, photographs)

    write_encoded(out, items(), meta)


def _picture(size: int, seed: int, scene: tuple[int, np.ndarray]) -> tuple[Facade, bytes]:
    index, scores = scene
    facade = sample_facade(seed, index, scores)
    return facade, encode_png(draw(facade, size, texture_stream(seed, index)))


def _photo(
    index: int, place: tuple[int, float, float], facade: Facade, street_map: StreetMap, shares: np.ndarray
) -> Photo:
    area, lon, lat = place
    health_rank, income_rank, education_rank = street_map.ranks[area].tolist()
    health, income, education = shares[area].tolist()
    return Photo(
        file="",
        source=SOURCE,
        source_id=f"house {index}",
        lat=lat,
        lon=lon,
        taken="",
        area=street_map.areas.codes[area],
        ranks=(health_rank, income_rank, education_rank),
        percentiles=(health, income, education),
        group=cell(lat, lon),
        attributes=facade.as_text(),
    )
