"""An invented town to practise on: photographs, their table, zones and a table of deprivation with headings of its own.

    python examples/practice_town.py my-city --photographs 600

The photographs are drawn by this project; some are spoilt on purpose (dark, out of focus, or showing no house), so
that filtering has something to find. `truth.csv` says which.
"""

from __future__ import annotations

import argparse
import csv
import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import shapely
from PIL import Image, ImageFilter

from pipeline.photos.calibration.attributes import sample_facade, texture_stream
from pipeline.photos.calibration.drawing import draw
from pipeline.photos.calibration.map import StreetMap, choose_place, make_map

SPOILT = 0.3  # share of photographs


def main() -> None:
    """Write the folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--photographs", type=int, default=600)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--seed", type=int, default=7)
    chosen = parser.parse_args()
    folder, seed = chosen.folder, chosen.seed
    (folder / "photographs").mkdir(parents=True, exist_ok=True)
    town = make_map(seed)
    rows, truth = [], []
    for index in range(chosen.photographs):
        name = f"house-{index:05d}.jpg"
        area, lon, lat = choose_place(town, seed, index)
        facade = sample_facade(seed, index, town.scores[area])
        picture = Image.fromarray(draw(facade, chosen.size, texture_stream(seed, index)))
        rng = np.random.default_rng((seed, index, 99))
        usable = bool(rng.random() >= SPOILT)
        (picture if usable else spoil(picture, rng)).save(folder / "photographs" / name, quality=90)
        rows.append((name, lat, lon, f"2024-{1 + index % 12:02d}"))
        truth.append((name, int(usable)))
    write_table(folder / "photos.csv", ("file", "lat", "lon", "taken"), rows)
    write_table(folder / "truth.csv", ("file", "usable"), truth)
    write_zones(folder, town)


def spoil(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Return what the camera sees when it is dark, out of focus, or turned to the wrong side."""
    kind = rng.integers(3)
    if kind == 0:
        return picture.point([value // 12 for value in range(256)] * 3)
    if kind == 1:
        return picture.filter(ImageFilter.GaussianBlur(picture.width / 16))
    noise = rng.integers(60, 200, (6, 6, 3), dtype=np.uint8)
    return Image.fromarray(noise).resize(picture.size, Image.Resampling.BICUBIC)


def write_zones(folder: Path, town: StreetMap) -> None:
    """Write the zones' boundaries, and a table that says of each how deprived it is, in three different ways."""
    features = [
        {"type": "Feature", "properties": {"zone": code}, "geometry": json.loads(shapely.to_geojson(shape))}
        for code, shape in zip(town.areas.codes, town.areas.shapes, strict=True)
    ]
    (folder / "zones.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    health, _, education = town.scores.T
    columns = zip(
        town.areas.codes,
        np.round(30 - 20 * health, 3),  # a score: high is deprived
        town.ranks[:, 1],  # a rank: 1 is the most deprived
        np.round(40 + 55 * education, 3),  # a score: low is deprived
        strict=True,
    )
    write_table(folder / "zones.csv", ("Zone", "Long-term illness, %", "Income rank", "School leavers, %"), columns)


def write_table(path: Path, heading: tuple[str, ...], rows: Iterable[tuple[object, ...]]) -> None:
    """Write a CSV."""
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(heading)
        writer.writerows(rows)


if __name__ == "__main__":
    main()
