"""The solver of many machines at once: each column is the minimum that scikit-learn finds for it alone."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.svm import LinearSVC

from pipeline.boundaries.solver import Gram, balanced_weights, fit_machines


def problem(seed: int, n: int = 80, dim: int = 12):
    rng = np.random.default_rng(seed)
    codes = rng.standard_normal((n, dim)) * rng.uniform(0.2, 3, dim) + 4
    labels = (codes[:, 0] + rng.standard_normal(n) > 4).astype(int)
    labels[:2] = 0, 1
    return codes, labels


def objective(gram: Gram, coefficients, scores, labels, weights, c) -> float:
    u = gram.rows.T @ coefficients
    lack = np.maximum(0, 1 - np.where(labels, 1, -1) * scores)
    return float(0.5 * u @ u + c * (weights * lack**2).sum())


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([1e-3, 0.1, 1.0]), st.sampled_from([5, 60, 120]))
def test_it_is_the_minimum_that_liblinear_finds(seed, c, dim):
    codes, labels = problem(seed, dim=dim)
    weights = np.random.default_rng(seed).integers(0, 4, len(labels)).astype(float)
    weights[:2] = 1
    gram = Gram.of(codes, dtype=np.float64)
    found = fit_machines(gram, labels[:, None], weights[:, None], c, 1e-8)
    # An intercept scaled up this far is as good as not penalised.
    theirs = LinearSVC(loss="squared_hinge", dual=False, C=c, tol=1e-8, max_iter=10_000, intercept_scaling=100)
    theirs.fit(gram.rows, labels, sample_weight=weights)
    mine = objective(gram, found.coefficients[:, 0], found.scores[:, 0], labels, weights, c)
    lack = np.maximum(0, 1 - np.where(labels, 1, -1) * theirs.decision_function(gram.rows))
    assert mine <= 0.5 * np.square(theirs.coef_).sum() + c * (weights * lack**2).sum() + 1e-6
    np.testing.assert_allclose(found.scores[:, 0], theirs.decision_function(gram.rows), atol=1e-2)


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 10**6))
def test_a_column_does_not_hang_on_its_neighbours(seed):
    codes, labels = problem(seed)
    rng = np.random.default_rng(seed)
    many = np.stack([rng.permutation(labels) for _ in range(7)], 1)
    weights, c = rng.random(many.shape), 10.0 ** rng.uniform(-3, 0, 7)
    gram = Gram.of(codes, dtype=np.float64)
    together = fit_machines(gram, many, weights, c, 1e-7)
    for k in range(7):
        alone = fit_machines(gram, many[:, [k]], weights[:, [k]], c[k], 1e-7)
        np.testing.assert_allclose(together.scores[:, k], alone.scores[:, 0], atol=1e-5)


@pytest.mark.parametrize("dim", [10, 300])
def test_single_precision_finds_nearly_the_same(dim):
    codes, labels = problem(3, 200, dim)
    weights = np.ones((200, 1))
    exact = fit_machines(Gram.of(codes, dtype=np.float64), labels[:, None], weights, 0.01, 1e-8)
    rough = fit_machines(Gram.of(codes), labels[:, None], weights, 0.01)
    assert rough.scores.dtype == np.float32
    np.testing.assert_allclose(rough.scores, exact.scores, atol=5e-3)


@pytest.mark.parametrize("dim", [10, 300])
def test_products_or_factors_make_no_difference(dim):
    codes, _ = problem(4, 100, dim)
    gram = Gram.of(codes, dtype=np.float64)
    assert (gram.products is None) == (dim == 10)
    columns = np.random.default_rng(0).standard_normal((100, 3))
    np.testing.assert_allclose(gram.times(columns), gram.rows @ gram.rows.T @ columns, atol=1e-9)


def test_hyperplanes_are_in_the_codes_own_units():
    codes, labels = problem(5)
    gram = Gram.of(codes, dtype=np.float64)
    found = fit_machines(gram, labels[:, None], np.ones((80, 1)), 0.1, 1e-8)
    normals, intercepts, scales = gram.hyperplanes(found.coefficients, found.biases)
    assert np.linalg.norm(normals[0]) == pytest.approx(1)
    np.testing.assert_allclose((codes @ normals[0] + intercepts[0]) * scales[0], found.scores[:, 0], atol=1e-9)


def test_codes_of_weight_nothing_are_not_seen():
    codes, labels = problem(6)
    seen = np.arange(80) < 60
    some = fit_machines(Gram.of(codes, False, np.float64), labels[:, None], seen[:, None].astype(float), 0.1, 1e-8)
    wild = np.where(seen, labels, 1 - labels)
    again = fit_machines(Gram.of(codes, False, np.float64), wild[:, None], seen[:, None].astype(float), 0.1, 1e-8)
    np.testing.assert_allclose(some.scores, again.scores, atol=1e-6)
    assert (some.coefficients[~seen] == 0).all()


def test_one_class_only_is_that_class_everywhere():
    codes, labels = problem(7)
    found = fit_machines(Gram.of(codes), np.stack([labels * 0, labels * 0 + 1], 1), np.ones((80, 2)), 0.1)
    np.testing.assert_allclose(found.scores, [[-1, 1]] * 80)


@given(st.integers(0, 10**6))
def test_balanced_weights_give_both_classes_the_same(seed):
    rng = np.random.default_rng(seed)
    labels, seen = rng.integers(0, 2, (30, 4)), rng.integers(0, 3, (30, 4))
    weights = balanced_weights(labels, seen)
    for k in range(4):
        of_one, all_ = weights[labels[:, k] == 1, k].sum(), seen[:, k].sum()
        assert weights[:, k].sum() == pytest.approx(all_, rel=1e-5)
        if 0 < seen[labels[:, k] == 1, k].sum() < all_:
            assert of_one == pytest.approx(all_ / 2, rel=1e-5)
