"""The page of facts, on datasets whose facts are known."""

import dataclasses
import json

import numpy as np
import pytest

from pipeline.photos.apart import split_distances
from pipeline.photos.checking import check_dataset
from pipeline.photos.dataset import Photo, write_dataset
from pipeline.photos.region import cell

METRE = 1 / 111_195


def photo(lat, lon, area, percentiles=(0.1, 0.5, 0.9)):
    return Photo("", "s", "i", lat, lon, "", area, (1, 2, 3), percentiles, cell(lat, lon))


def picture(seed):
    return np.random.default_rng(seed).integers(0, 256, (16, 16, 3), dtype=np.uint8)


def write(path, photos, images):
    write_dataset(path, zip(photos, images, strict=True), {"licence": "CC0", "attribution": "nobody"})
    return path


def test_duplicates_and_areas(tmp_path):
    photos = [photo(51.5 + 0.02 * i, 0.0, f"A{i // 2}") for i in range(5)]
    photos += [dataclasses.replace(photos[0], lat=photos[0].lat + 10 * METRE), dataclasses.replace(photos[1], lat=50.0)]
    images = [picture(i) for i in range(5)] + [picture(0), picture(1)]
    facts = check_dataset(write(tmp_path / "d.zip", photos, images))
    assert facts.duplicates == {"anywhere": 2, "near by": 1}
    assert facts.per_area == (1, 2, 4)
    assert (facts.areas, facts.photographs) == (3, 7)
    assert any("1 photographs look like another one near by" in warning for warning in facts.warnings)


def test_how_far_apart_the_splits_are(tmp_path):
    """Pairs of cameras 5 m apart, a kilometre from the next pair; a pair is an area."""
    photos = [photo(51.0 + 0.02 * (i // 2) + (i % 2) * 5 * METRE, 0.0, f"A{i // 2}") for i in range(40)]
    facts = check_dataset(write(tmp_path / "d.zip", photos, map(picture, range(40))))
    by_photograph, by_area = facts.splits["photograph"], facts.splits["area"]
    assert by_photograph["test"] == by_area["test"] == 8
    assert by_photograph["within_25_m"] >= 0.5
    assert by_photograph["nearest_metres"] == pytest.approx(5, abs=0.1)
    assert by_area["within_25_m"] == 0
    assert by_area["nearest_metres"] == pytest.approx(0.02 / METRE - 5, abs=5)


def test_an_area_split_that_leaks_is_warned_of(tmp_path):
    photos = [photo(51.0, i * METRE, f"A{i}") for i in range(20)]
    facts = check_dataset(write(tmp_path / "d.zip", photos, map(picture, range(20))))
    assert any("split by area, 100% of the held-out photographs have another within 25 m" in w for w in facts.warnings)
    assert any("one block of 1 km" in w for w in facts.warnings)
    assert "1 km block" not in facts.splits


def test_one_side_is_never_empty():
    lat, lon = np.array([0.0, 0.1, 0.1]), np.zeros(3)
    found = split_distances(lat, lon, {"two": ["a", "b", "b"], "one": ["a"] * 3})
    assert set(found) == {"two"}
    assert found["two"]["test"] in (1, 2)
    assert found["two"]["test"] + found["two"]["train"] == 3


def test_the_page(tmp_path, atlas):
    shares = np.linspace(0, 1, 30)
    photos = [photo(51 + 0.01 * i, 0.0, f"A{i}", (s, s, float(s > 0.5))) for i, s in enumerate(shares.tolist())]
    path = write(tmp_path / "d.zip", photos, map(picture, range(30)))
    result = atlas("dataset", "check", path)
    assert result.exit_code == 0, result.stderr
    for line in (
        "licence: CC0",
        "photographs in an area that has any: 1 to 1, median 1",
        "look like another: 0 anywhere, 0 within 25 m of it",
        "warning: health and income are correlated at 1.00: they can hardly be told apart",
        "warning: no photograph is in decile 2, 3, 4, 5, 6, 7, 8, 9 of education",
    ):
        assert line in result.stdout.splitlines()
    assert "by 1 km block" in result.stdout
    as_json = json.loads(atlas("dataset", "check", path, "--json").stdout)
    assert set(as_json["splits"]) == {"photograph", "area", "1 km block"}
    assert as_json["correlation"]["health-income"] == 1.0
