"""Real photographs, boundaries and ranks, from the folder that ATLAS_LONDON names."""

import csv
import json
from itertools import pairwise

import numpy as np
import pytest

from pipeline.photos.dataset import open_dataset
from pipeline.photos.imd import read_imd


@pytest.fixture(scope="module")
def imported(london, tmp_path_factory):
    from pipeline.photos.importing import import_photographs

    out = tmp_path_factory.mktemp("london") / "dataset.zip"
    import_photographs(
        london / "photos.zip",
        london / "photos.csv",
        london / "lsoa2011_london.geojson",
        london / "imd2019_file7_london.csv",
        64,
        out,
    )
    return open_dataset(out)


def rings(geometry):
    polygons = geometry["coordinates"] if geometry["type"] == "MultiPolygon" else [geometry["coordinates"]]
    return [ring for polygon in polygons for ring in polygon]


def inside(ring_list, x, y):
    odd = False
    for ring in ring_list:
        for (x0, y0), (x1, y1) in pairwise(ring):
            if (y0 <= y) != (y1 <= y) and x < x0 + (y - y0) / (y1 - y0) * (x1 - x0):
                odd = not odd
    return odd


def test_the_table_says_of_the_first_area(london):
    table = read_imd(london / "imd2019_file7_london.csv")
    row = table.codes.index("E01000001")
    assert table.overall[row] == 29_199
    assert table.ranks[row].tolist() == [32_113, 32_831, 32_842]
    assert (len(table.codes), table.year) == (4835, 2011)


def test_counts(imported):
    counts = imported.meta["counts"]
    assert counts["listed"] == 3231
    assert counts["imported"] == 3222
    assert counts["dropped"] == {"outside every area": 0, "on a boundary of areas": 9, "area without ranks": 0}
    assert counts["imported"] + sum(counts["dropped"].values()) == 3231
    assert imported.meta["areas"] == 4835


def test_fifty_random_photographs_against_ray_casting(london, imported):
    features = json.loads((london / "lsoa2011_london.geojson").read_text())["features"]
    shapes = {f["properties"]["LSOA11CD"]: rings(f["geometry"]) for f in features}
    checked = 0
    for i in np.random.default_rng(2023).choice(len(imported), 50, replace=False):
        photo = imported.photos[i]
        holders = [code for code, shape in shapes.items() if inside(shape, photo.lon, photo.lat)]
        assert holders == [photo.area]
        checked += 1
    assert checked == 50


def test_percentiles_are_among_all_areas_of_london(london, imported):
    with (london / "imd2019_file7_london.csv").open() as stream:
        ranks = [int(row["Income Rank (where 1 is most deprived)"]) for row in csv.DictReader(stream)]
    for photo in imported.photos[::301]:
        below, same = sum(r < photo.ranks[1] for r in ranks), ranks.count(photo.ranks[1])
        assert photo.percentiles[1] == pytest.approx((below + (same - 1) / 2) / (len(ranks) - 1))


def test_the_table_of_another_year_is_refused(london, atlas, tmp_path):
    result = atlas(
        *("dataset", "import", london / "photos.zip", "--photos-csv", london / "photos.csv"),
        *("--areas", london / "lsoa2011_london.geojson", "--imd", london / "imd2025_file7_london.csv"),
        *("--out", tmp_path / "dataset.zip"),
    )
    assert (result.exit_code, len(result.stderr.splitlines())) == (2, 1)
    assert "holds the boundaries of 2011" in result.stderr
    assert "those of 2021" in result.stderr


def test_the_indices_of_2025(london, atlas, tmp_path):
    out = tmp_path / "dataset.zip"
    result = atlas(
        *("dataset", "import", london / "photos.zip", "--photos-csv", london / "photos.csv", "--size", "16"),
        *("--areas", london / "lsoa2021_london.geojson", "--imd", london / "imd2025_file7_london.csv", "--out", out),
    )
    assert result.exit_code == 0, result.stderr
    meta = open_dataset(out).meta
    assert (meta["boundary_year"], meta["areas"]) == (2021, 4994)
    assert meta["counts"]["imported"] + sum(meta["counts"]["dropped"].values()) == 3231
    assert meta["counts"]["imported"] > 3200
