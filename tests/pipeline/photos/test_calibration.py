"""The calibration street: what was planted is there, nothing else is, and it can be measured back from pixels."""

import dataclasses

import numpy as np
import pytest
import shapely
from scipy.stats import spearmanr

from atlas.errors import InputError
from atlas.grid import AXES
from pipeline.photos.calibration.attributes import (
    DOOR_HUES,
    EXPLAINED,
    NUISANCES,
    PLANTED,
    Facade,
    sample_facade,
    texture_stream,
)
from pipeline.photos.calibration.drawing import draw
from pipeline.photos.calibration.map import SPEARMAN, choose_place, make_map
from pipeline.photos.calibration.measuring import measure
from pipeline.photos.calibration.street import make_calibration
from pipeline.photos.dataset import open_dataset

SEED, MANY = 11, 4000


@pytest.fixture(scope="module")
def street_map():
    return make_map(SEED)


@pytest.fixture(scope="module")
def street(street_map):
    """Percentiles [N, 3] and facades of many photographs, not drawn."""
    areas = [choose_place(street_map, SEED, i)[0] for i in range(MANY)]
    scores = street_map.scores[areas]
    return scores, [sample_facade(SEED, i, score) for i, score in enumerate(scores)]


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    path = tmp_path_factory.mktemp("street") / "calibration.zip"
    make_calibration(path, photographs=120, size=128, seed=SEED)
    return open_dataset(path)


# The map


@pytest.mark.parametrize("seed", [1, 2, SEED])
def test_ranks_are_correlated_as_londons_are(seed):
    ranks = make_map(seed).ranks
    for (a, b), wanted in SPEARMAN.items():
        found = spearmanr(ranks[:, AXES.index(a)], ranks[:, AXES.index(b)]).statistic
        assert found == pytest.approx(wanted, abs=0.03)


def test_the_map_is_whole(street_map):
    shapes = street_map.areas.shapes
    assert len(shapes) >= 400
    assert shapely.is_valid(shapes).all()
    assert shapely.union_all(shapes).area == pytest.approx(shapely.area(shapes).sum(), rel=1e-9)
    for axis in range(3):
        assert sorted(street_map.ranks[:, axis]) == list(range(1, len(shapes) + 1))
    assert list(street_map.areas.codes) == sorted(street_map.areas.codes)


def test_neighbours_are_alike(street_map):
    """Deprivation is not strewn about: a split by area has something to be better than."""
    first, second = shapely.STRtree(street_map.areas.shapes).query(street_map.areas.shapes, predicate="touches")
    health = street_map.ranks[:, 0]
    assert np.corrcoef(health[first], health[second])[0, 1] > 0.4


def test_photographs_stand_in_their_areas(drawn, street_map):
    lon, lat = np.array([p.lon for p in drawn.photos]), np.array([p.lat for p in drawn.photos])
    found, ambiguous = street_map.areas.locate(lon, lat)
    assert [street_map.areas.codes[i] for i in found] == [p.area for p in drawn.photos]
    assert not ambiguous.any()
    np.testing.assert_array_equal(street_map.ranks[found], [p.ranks for p in drawn.photos])


# What was planted, and what was not


def test_the_planted_share_lies_where_it_was_asked_to():
    assert 0.2 <= EXPLAINED <= 0.5
    assert PLANTED == {"hedge": "health", "door_hue": "income", "brick_tone": "education"}


@pytest.mark.parametrize("attribute", PLANTED)
def test_each_axis_explains_its_share_of_its_attribute(street, attribute):
    scores, facades = street
    values = np.array([getattr(f, attribute) for f in facades])
    share = np.corrcoef(scores[:, AXES.index(PLANTED[attribute])], values)[0, 1] ** 2
    assert share == pytest.approx(EXPLAINED, abs=0.035)


@pytest.mark.parametrize("attribute", PLANTED)
def test_the_other_axes_explain_nothing_more(street, attribute):
    scores, facades = street
    values = np.array([getattr(f, attribute) for f in facades])
    own = AXES.index(PLANTED[attribute])

    def residual(columns):
        design = np.column_stack([np.ones(MANY), scores[:, columns]])
        return np.var(values - design @ np.linalg.lstsq(design, values, rcond=None)[0])

    assert (residual([own]) - residual([0, 1, 2])) / np.var(values) < 0.003


def columns_of(facades, name):
    """An attribute as numbers: itself, or one column for each thing it can be."""
    values = [getattr(f, name) for f in facades]
    if isinstance(values[0], str):
        return {f"{name}={kind}": np.array([v == kind for v in values], float) for kind in set(values)}
    return {name: np.array(values, float)}


def test_nothing_else_knows_of_deprivation(street):
    scores, facades = street
    assert len(NUISANCES) >= 40
    strays = {}
    for name in NUISANCES:
        for label, values in columns_of(facades, name).items():
            strongest = max(abs(np.corrcoef(values, scores[:, axis])[0, 1]) for axis in range(3))
            if strongest > 4 / np.sqrt(MANY):
                strays[label] = strongest
    assert not strays


def test_planted_attributes_know_nothing_of_the_others(street):
    _, facades = street
    for name in NUISANCES:
        for label, values in columns_of(facades, name).items():
            for planted in PLANTED:
                r = np.corrcoef(values, [getattr(f, planted) for f in facades])[0, 1]
                assert abs(r) < 4.2 / np.sqrt(MANY), (label, planted)


def test_planted_attributes_fill_their_ranges(street):
    _, facades = street
    hedge, tone = np.array([f.hedge for f in facades]), np.array([f.brick_tone for f in facades])
    hue = np.array([f.door_hue for f in facades])
    for values, low, high in ((hedge, 0, 1), (tone, 0, 1), (hue, *DOOR_HUES)):
        assert low <= values.min() < low + 0.01 * (high - low)
        assert high - 0.01 * (high - low) < values.max() <= high
        quarters = np.histogram(values, 4, (low, high))[0]
        assert quarters.min() > 0.2 * MANY


# The same again


def test_same_seed_same_bytes_and_a_photograph_does_not_depend_on_the_count(tmp_path):
    for name, count, workers in (("a", 48, 2), ("b", 48, 1), ("c", 5, None)):
        make_calibration(tmp_path / f"{name}.zip", photographs=count, size=32, seed=3, workers=workers)
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()
    many, few = open_dataset(tmp_path / "a.zip"), open_dataset(tmp_path / "c.zip")
    np.testing.assert_array_equal(many.images(range(5)), few.images())
    assert many.photos[:5] == few.photos


def test_another_seed_is_another_street(tmp_path):
    for seed in (3, 4):
        make_calibration(tmp_path / f"{seed}.zip", photographs=2, size=16, seed=seed)
    a, b = open_dataset(tmp_path / "3.zip"), open_dataset(tmp_path / "4.zip")
    assert (a.images() != b.images()).any()
    assert a.photos[0].attributes != b.photos[0].attributes


def test_the_same_scene_at_every_size(street):
    _, facades = street
    large, small = (
        np.stack([draw(facades[i], size, texture_stream(SEED, i)) for i in range(8)]).astype(float)
        for size in (128, 32)
    )
    reduced = large.reshape(8, 32, 4, 32, 4, 3).mean((2, 4))
    apart = np.abs(reduced[:, None] - small[None]).mean((2, 3, 4))
    assert np.diag(apart).max() < 9
    assert apart[~np.eye(8, dtype=bool)].min() > 2 * np.diag(apart).max()


def test_every_attribute_is_in_the_table(drawn, street_map):
    names = [f.name for f in dataclasses.fields(Facade)]
    for i, photo in enumerate(drawn.photos[:5]):
        assert list(photo.attributes) == names
        row = street_map.areas.codes.index(photo.area)
        assert photo.attributes == sample_facade(SEED, i, street_map.scores[row]).as_text()
    assert drawn.meta["planted"] == PLANTED
    assert drawn.meta["explained"] == EXPLAINED


@pytest.mark.parametrize(("photographs", "size"), [(0, 32), (4, 33)])
def test_what_cannot_be_drawn(tmp_path, photographs, size):
    with pytest.raises(InputError):
        make_calibration(tmp_path / "a.zip", photographs=photographs, size=size, seed=1)


# Pixels


def known(dataset, attribute):
    return np.array([float(p.attributes[attribute]) for p in dataset.photos])


def test_measuring_recovers_the_planted_attributes(drawn):
    measured = measure(drawn.images())
    for attribute, least in (("hedge", 0.99), ("door_hue", 0.99), ("brick_tone", 0.97)):
        assert np.corrcoef(measured[attribute], known(drawn, attribute))[0, 1] > least, attribute
    assert np.abs(measured["hedge"] - known(drawn, "hedge")).mean() < 0.05
    assert np.abs(measured["door_hue"] - known(drawn, "door_hue")).mean() < 8
    assert np.abs(measured["brick_tone"] - known(drawn, "brick_tone")).mean() < 0.08


@pytest.mark.parametrize(("size", "least"), [(64, 0.97), (32, 0.95)])
def test_measuring_smaller_pictures(tmp_path, size, least):
    make_calibration(tmp_path / "a.zip", photographs=120, size=size, seed=SEED)
    dataset = open_dataset(tmp_path / "a.zip")
    measured = measure(dataset.images())
    for attribute in PLANTED:
        assert np.corrcoef(measured[attribute], known(dataset, attribute))[0, 1] > least, attribute


@pytest.mark.parametrize(
    ("attribute", "low", "high"), [("hedge", 0.2, 0.8), ("door_hue", 230, 370), ("brick_tone", 0.2, 0.8)]
)
def test_a_measure_moves_with_its_attribute_and_stays_with_the_others(street, attribute, low, high):
    _, facades = street
    pairs = []
    for i in range(12):
        pairs += [
            draw(dataclasses.replace(facades[i], **{attribute: v}), 64, texture_stream(SEED, i)) for v in (low, high)
        ]
    measured = measure(np.stack(pairs))
    spans = {"hedge": 1, "door_hue": DOOR_HUES[1] - DOOR_HUES[0], "brick_tone": 1}
    for name, values in measured.items():
        moved = (values[1::2] - values[::2]) / spans[name]
        if name == attribute:
            assert np.abs(moved - (high - low) / spans[name]).max() < 0.2
        else:
            assert np.abs(moved).mean() < 0.03


def test_a_taller_hedge_changes_nothing_above_it(street):
    _, facades = street
    low, high = (
        draw(dataclasses.replace(facades[i], hedge=amount, tree="left", season="summer"), 64, texture_stream(SEED, i))
        for i in (1,)
        for amount in (0.1, 0.9)
    )
    np.testing.assert_array_equal(low[:34], high[:34])
    assert (low[34:] != high[34:]).any()


def test_measuring_takes_anything_of_the_right_shape():
    noise = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)
    flat = np.zeros((2, 16, 16, 3), np.uint8)
    for images in (noise, flat, noise[:0]):
        measured = measure(images)
        assert set(measured) == set(PLANTED)
        for values in measured.values():
            assert values.shape == (len(images),)
            assert np.isfinite(values).all()
    with pytest.raises(ValueError, match="must be"):
        measure(noise[0])


def test_measuring_does_not_depend_on_the_company(drawn):
    images = drawn.images(range(70))
    together = measure(images)
    for name, values in measure(images[65:66]).items():
        assert values[0] == pytest.approx(together[name][65], rel=1e-6)


def test_pictures_differ(drawn):
    images = drawn.images(range(40)).reshape(40, -1).astype(float)
    assert np.abs(images[0] - images[1:]).mean(1).min() > 10
    assert images.std() > 35


@pytest.mark.parametrize(
    "attribute", ["storeys", "layout", "roof", "bay", "season", "car", "wall_material", "gate", "lintel"]
)
def test_every_kind_can_be_drawn_and_seen(street, attribute):
    _, facades = street
    kinds = sorted({getattr(f, attribute) for f in facades}, key=str)
    start = dataclasses.replace(
        facades[0], tree="left", render="none", car="left", car_shape="van", hedge=0.1, bay="none", layout="left"
    )
    pictures = [
        draw(dataclasses.replace(start, **{attribute: kind}), 64, texture_stream(SEED, 0)).astype(int) for kind in kinds
    ]
    for i, picture in enumerate(pictures):
        for other in pictures[:i]:
            assert np.abs(picture - other).max() > 25, kinds


def test_the_command(tmp_path, atlas):
    arguments = [
        "dataset",
        "calibration",
        "--photographs",
        "6",
        "--size",
        "32",
        "--seed",
        "2",
        "--out",
        tmp_path / "c.zip",
    ]
    first = atlas(*arguments)
    assert first.exit_code == 0, first.stderr
    assert first.stderr == ""
    assert len(open_dataset(tmp_path / "c.zip")) == 6
    assert "up to date" in atlas(*arguments).stdout
    assert (tmp_path / "c.stage.json").exists()
    assert atlas("dataset", "check", tmp_path / "c.zip").exit_code == 0
    bad = atlas(*arguments, "--size", "31")
    assert (bad.exit_code, len(bad.stderr.splitlines())) == (2, 1)
