"""Metrics and their intervals, against scikit-learn and against draws made one by one."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import precision_recall_fscore_support, roc_auc_score

from pipeline.boundaries.metrics import Predictions, auc, bootstrap, draw_blocks, estimates, hit_counts, interval, rates


def predictions(seed: int, blocks: int = 12, per_block: int = 6, ties: bool = False) -> tuple[Predictions, np.ndarray]:
    rng = np.random.default_rng(seed)
    of = np.repeat(np.arange(blocks), per_block)
    labels = np.concatenate([[0, 1], rng.integers(0, 2, len(of) - 2)])
    scores = labels + rng.normal(0, 1.5, len(of)) - 0.5
    if ties:
        scores = np.round(scores)
    return Predictions(labels, scores, of % 3), of


@given(st.integers(0, 10**6))
def test_rates_as_scikit_learn_has_them(seed):
    rng = np.random.default_rng(seed)
    labels, predicted = rng.integers(0, 2, 50), rng.random(50) < 0.5
    expected = precision_recall_fscore_support(labels, predicted, average="binary", zero_division=0.0)[:3]
    np.testing.assert_allclose(rates(hit_counts(labels, predicted).sum(0)), expected)


@given(st.integers(0, 10**6), st.booleans())
def test_auc_within_folds(seed, ties):
    found, _ = predictions(seed, ties=ties)
    right = pairs = 0.0
    for fold in range(3):
        rows = found.fold_of == fold
        labels = found.labels[rows]
        weight = (labels == 1).sum() * (labels == 0).sum()
        if weight:
            right += weight * roc_auc_score(labels, found.scores[rows])
            pairs += weight
    both = auc(found.labels, np.stack([found.scores, -found.scores], 1), found.fold_of)
    np.testing.assert_allclose(both, [right / pairs, 1 - right / pairs])


def test_auc_of_what_tells_nothing_is_a_half():
    assert auc(np.array([0, 1, 0, 1]), np.zeros((4, 1)), np.zeros(4))[0] == 0.5
    assert auc(np.array([0, 0, 1, 1]), np.zeros((4, 1)), np.array([0, 0, 1, 1]))[0] == 0.5


@settings(max_examples=20)
@given(st.integers(0, 10**6), st.booleans())
def test_draws_as_made_one_by_one(seed, ties):
    found, blocks = predictions(seed, ties=ties)
    times = draw_blocks(12, 5, seed)
    assert (times.sum(1) == 12).all()
    drawn = bootstrap(found, blocks, times)
    for k, counts in enumerate(times):
        rows = np.concatenate([np.repeat(np.flatnonzero(blocks == b), n) for b, n in enumerate(counts)])
        again = estimates(Predictions(found.labels[rows], found.scores[rows], found.fold_of[rows]))
        for name, value in again.items():
            assert drawn[name][k] == pytest.approx(value), name


@given(st.integers(0, 10**6))
def test_intervals_hold_the_estimate(seed):
    found, blocks = predictions(seed)
    drawn = bootstrap(found, blocks, draw_blocks(12, 100, seed))
    for name, value in estimates(found).items():
        low, high = interval(drawn[name], value)
        assert 0 <= low <= value <= high <= 1


def test_photographs_of_one_block_count_as_one_when_they_are_alike():
    labels = np.arange(200) % 2
    scores = np.where(np.arange(200) // 10 % 4 == 0, 1 - labels, labels) - 0.5
    found, one = Predictions(labels, scores, np.zeros(200)), estimates(Predictions(labels, scores, np.zeros(200)))["f1"]
    alone = interval(bootstrap(found, np.arange(200), draw_blocks(200, 500, 1))["f1"], one)
    grouped = interval(bootstrap(found, np.arange(200) // 10, draw_blocks(20, 500, 1))["f1"], one)
    assert grouped[1] - grouped[0] > 1.8 * (alone[1] - alone[0])
