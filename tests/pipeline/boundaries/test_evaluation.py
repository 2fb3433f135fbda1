"""Folds by area, metrics and the bootstrap."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import precision_recall_fscore_support

from atlas.errors import InputError
from pipeline.boundaries.evaluation import area_folds, evaluate, f1_interval, hit_counts, out_of_fold, rates
from pipeline.boundaries.svm import LinearBoundary


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
def test_an_area_is_never_on_both_sides(given_, folds, seed):
    areas, labels = given_
    folds = min(folds, len(np.unique(areas)))
    fold_of = area_folds(areas, labels, folds, seed)
    for area in np.unique(areas):
        assert len(np.unique(fold_of[areas == area])) == 1
    assert np.unique(fold_of).tolist() == list(range(folds))
    for fold in range(folds):
        assert set(labels[fold_of != fold]) == {0, 1}  # something of both classes to learn from
    assert (fold_of == area_folds(areas, labels, folds, seed)).all()


def test_folds_are_even_in_both_classes():
    rng = np.random.default_rng(0)
    of_area = rng.integers(0, 2, 400)
    areas = np.repeat(np.arange(400), rng.integers(1, 9, 400))
    fold_of, labels = area_folds(areas, of_area[areas], 5, 1), of_area[areas]
    for label in (0, 1):
        counts = np.bincount(fold_of[labels == label])
        assert counts.max() - counts.min() <= 8  # no more than one area's photographs
    assert (area_folds(areas, labels, 5, 1) != area_folds(areas, labels, 5, 2)).any()


@given(labelled_areas(), st.integers(0, 1000))
def test_rates_as_scikit_learn_has_them(given_, seed):
    _, labels = given_
    predicted = np.random.default_rng(seed).random(len(labels)) < 0.5
    expected = precision_recall_fscore_support(labels, predicted, average="binary", zero_division=0.0)[:3]
    np.testing.assert_allclose(rates(hit_counts(labels, predicted).sum(0)), expected)


@given(labelled_areas(), st.integers(0, 1000), st.floats(0, 1))
def test_the_interval_holds_the_estimate(given_, seed, luck):
    areas, labels = given_
    rng = np.random.default_rng(seed)
    predicted = np.where(rng.random(len(labels)) < luck, labels, 1 - labels)
    hits = hit_counts(labels, predicted)
    low, high = f1_interval(hits, areas, seed, draws=100)
    assert 0 <= low <= rates(hits.sum(0))[2] <= high <= 1


def test_the_interval_as_drawn_one_by_one():
    rng = np.random.default_rng(0)
    areas = np.repeat(np.arange(40), 5)
    labels = np.repeat(np.arange(40) % 2, 5)
    hits = hit_counts(labels, np.where(rng.random(200) < 0.7, labels, 1 - labels))
    by_area = np.stack([hits[areas == a].sum(0) for a in range(40)])
    draws = [float(rates(by_area[rng.integers(0, 40, 40)].sum(0))[2]) for _ in range(4000)]
    np.testing.assert_allclose(f1_interval(hits, areas, 1), np.percentile(draws, [2.5, 97.5]), atol=0.015)


def test_photographs_of_one_area_count_as_one_when_they_are_alike():
    labels = np.arange(200) % 2
    hits = hit_counts(labels, np.where(np.arange(200) // 10 % 4 == 0, 1 - labels, labels))
    alone = f1_interval(hits, np.arange(200), 1)
    grouped = f1_interval(hits, np.arange(200) // 10, 1)
    assert grouped[1] - grouped[0] > 1.8 * (alone[1] - alone[0])


def test_what_only_an_area_tells_is_not_learnt():
    rng = np.random.default_rng(4)
    areas = np.repeat(np.arange(60), 10)
    labels = (np.arange(60) % 2)[areas]
    codes = rng.standard_normal((60, 40))[areas] + 0.1 * rng.standard_normal((600, 40))  # an area's look, by chance
    found = evaluate(LinearBoundary(), codes, labels, areas, 5, 1)
    shuffled = evaluate(LinearBoundary(), codes, labels, rng.permutation(600), 5, 1)  # as a random split has it
    assert found.auc < 0.7
    assert shuffled.auc > 0.85
    assert (found.n, found.areas, found.folds, found.n_train) == (600, 60, 5, 480)


def test_every_photograph_is_predicted_by_a_boundary_that_has_not_seen_its_fold():
    rng = np.random.default_rng(5)
    codes, labels = rng.standard_normal((60, 4)), np.arange(60) % 2
    fold_of = np.arange(60) % 3
    scores = out_of_fold(LinearBoundary(), codes, labels, fold_of)
    again = LinearBoundary().fit(codes[fold_of != 1], labels[fold_of != 1]).decision_function(codes[fold_of == 1])
    np.testing.assert_array_equal(scores[fold_of == 1], again)


def test_a_class_within_one_fold_is_refused():
    labels = np.array([0, 0, 1, 1])
    with pytest.raises(InputError, match="all areas of one class fell into one fold"):
        out_of_fold(LinearBoundary(), np.zeros((4, 2)), labels, labels)


@settings(max_examples=5)
@given(st.integers(0, 1000))
def test_the_same_seed_gives_the_same_numbers(seed):
    rng = np.random.default_rng(0)
    areas = np.repeat(np.arange(20), 4)
    labels = (np.arange(20) % 2)[areas]
    codes = rng.standard_normal((80, 3))
    assert evaluate(LinearBoundary(), codes, labels, areas, 4, seed) == evaluate(
        LinearBoundary(), codes, labels, areas, 4, seed
    )
