"""Blocks, folds and the margin between those who teach and those who judge."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pipeline.boundaries.blocks import area_blocks, group_folds, metres, near, random_folds


@st.composite
def labelled_areas(draw):
    """Photographs of areas of all sizes; an area's photographs share its label."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    count = draw(st.integers(4, 60))
    sizes = rng.integers(1, draw(st.integers(2, 12)), count)
    of_area = np.concatenate([[0, 0, 1, 1], rng.integers(0, 2, count - 4)])
    areas = np.repeat(np.arange(count), sizes)
    shuffled = rng.permutation(len(areas))
    return areas[shuffled], of_area[areas[shuffled]]


@given(labelled_areas(), st.integers(2, 10), st.integers(0, 100))
def test_a_group_is_never_on_both_sides(given_, folds, seed):
    areas, labels = given_
    folds = min(folds, len(np.unique(areas)))
    fold_of = group_folds(areas, labels, folds, seed)
    for area in np.unique(areas):
        assert len(np.unique(fold_of[areas == area])) == 1
    assert np.unique(fold_of).tolist() == list(range(folds))
    for fold in range(folds):
        assert set(labels[fold_of != fold]) == {0, 1}  # something of both classes to learn from
    assert (fold_of == group_folds(areas, labels, folds, seed)).all()


def test_folds_are_even_in_both_classes():
    rng = np.random.default_rng(0)
    of_area = rng.integers(0, 2, 400)
    areas = np.repeat(np.arange(400), rng.integers(1, 9, 400))
    fold_of, labels = group_folds(areas, of_area[areas], 5, 1), of_area[areas]
    for label in (0, 1):
        counts = np.bincount(fold_of[labels == label])
        assert counts.max() - counts.min() <= 8  # no more than one area's photographs
    assert (group_folds(areas, labels, 5, 1) != group_folds(areas, labels, 5, 2)).any()


@given(labelled_areas(), st.integers(2, 10), st.integers(0, 100))
def test_random_folds_are_even_in_both_classes(given_, folds, seed):
    _, labels = given_
    fold_of = random_folds(labels, folds, seed)
    for label in (0, 1):
        counts = np.bincount(fold_of[labels == label], minlength=folds)
        assert counts.max() - counts.min() <= 1


@given(arrays(int, st.integers(1, 40), elements=st.integers(0, 6)), st.integers(0, 2**32 - 1))
def test_an_area_lies_in_one_block_which_is_one_of_its_cells(areas, seed):
    _, areas = np.unique(areas, return_inverse=True)
    cells = [f"E{i:05d}" for i in np.random.default_rng(seed).integers(0, 4, len(areas))]
    blocks = area_blocks(areas, cells)
    assert np.unique(blocks).tolist() == list(range(blocks.max() + 1))
    for area in np.unique(areas):
        (block,) = np.unique(blocks[areas == area])
        mine = [c for c, a in zip(cells, areas, strict=True) if a == area]
        most = max(sorted(set(mine)), key=mine.count)  # of equals the first by name
        same = blocks == block
        assert most in {c for c, s in zip(cells, same, strict=True) if s}


def test_areas_go_where_most_of_them_lies():
    areas = np.array([0, 0, 0, 1, 1, 2])
    assert area_blocks(areas, ["B", "A", "B", "A", "A", "C"]).tolist() == [1, 1, 1, 0, 0, 2]


@given(st.integers(0, 2**32 - 1), st.floats(0, 300))
def test_the_margin_as_counted_by_hand(seed, margin):
    rng = np.random.default_rng(seed)
    places, test = rng.uniform(0, 1000, (40, 2)), rng.random(40) < 0.3
    found = near(places, test, margin)
    apart = np.linalg.norm(places[:, None] - places[None], axis=2)
    expected = np.array([not t and bool((apart[i][test] <= margin).any()) for i, t in enumerate(test)])
    np.testing.assert_array_equal(found, expected)


def test_metres():
    places = metres(np.array([51.5, 51.5, 51.509]), np.array([0.0, 0.01, 0.0]))
    np.testing.assert_allclose(places[1] - places[0], [692, 0], atol=2)
    np.testing.assert_allclose(places[2] - places[0], [0, 1001], atol=2)
