"""The linear boundary: as recorded from InterFaceGAN, and in scikit-learn's manner."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file
from sklearn.base import clone
from sklearn.model_selection import cross_val_score
from sklearn.utils.estimator_checks import parametrize_with_checks

from pipeline.boundaries import LinearBoundary

PARITY = Path(__file__).resolve().parents[2] / "parity"


@pytest.fixture(scope="module")
def recorded():
    return load_file(PARITY / "interfacegan.safetensors")


@pytest.mark.parametrize("case", ["noisy", "ends2pct"])
def test_boundary_as_recorded(recorded, case):
    def get(name):
        return recorded[f"out.svm.{case}.{name}"]

    found = LinearBoundary(c=1.0, standardise=False, loss="hinge").fit(get("train_x"), get("train_y"))
    normal = get("normal")[0]
    assert found.normal_ @ normal > 0.9999
    assert found.scale_ == pytest.approx(float(np.linalg.norm(get("coef_raw"))), abs=5e-3)
    assert found.intercept_ * found.scale_ == pytest.approx(float(get("intercept")[0]), abs=0.01)
    agreement = (found.predict(get("val_x")) == get("val_pred")).mean()
    assert agreement == 1
    accuracy = (found.predict(get("val_x")) == get("val_y")).mean()
    assert accuracy == pytest.approx(float(get("val_accuracy")[0]))


@pytest.mark.parametrize("case", ["noisy", "ends2pct"])
def test_the_fast_solver_finds_nearly_the_same(recorded, case):
    x, y = recorded[f"out.svm.{case}.train_x"], recorded[f"out.svm.{case}.train_y"]
    found = LinearBoundary().fit(x, y)
    assert found.normal_ @ recorded[f"out.svm.{case}.normal"][0] > 0.9


def two_clouds(seed: int, n: int = 60, dim: int = 6, offset: float = 2.0):
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.repeat([0, 1], n // 2))
    codes = rng.standard_normal((n, dim)) * rng.uniform(0.2, 3, dim) + rng.uniform(-9, 9, dim)
    codes[:, 0] += offset * labels
    return codes, labels


@settings(max_examples=30)
@given(st.integers(0, 10**6), st.sampled_from(["hinge", "squared_hinge"]), st.booleans())
def test_flipping_the_labels_flips_the_normal(seed, loss, standardise):
    codes, labels = two_clouds(seed)
    machine = LinearBoundary(0.1, standardise, loss)
    there, back = clone(machine).fit(codes, labels), clone(machine).fit(codes, 1 - labels)
    np.testing.assert_allclose(there.normal_, -back.normal_, atol=2e-3)
    np.testing.assert_allclose(there.decision_function(codes), -back.decision_function(codes), atol=2e-2)


@settings(max_examples=30)
@given(st.integers(0, 10**6))
def test_scores_are_signed_distances(seed):
    codes, labels = two_clouds(seed)
    found = LinearBoundary().fit(codes, labels)
    assert np.linalg.norm(found.normal_) == pytest.approx(1)
    scores = found.decision_function(codes)
    on_it = codes - scores[:, None] * found.normal_
    np.testing.assert_allclose(found.decision_function(on_it), 0, atol=1e-9)
    np.testing.assert_allclose(found.decision_function(codes + 3 * found.normal_), scores + 3)
    assert scores[labels == 1].mean() > scores[labels == 0].mean()


@settings(max_examples=20)
@given(st.integers(0, 10**6), st.floats(-3, 3))
def test_standardising_makes_units_and_origin_irrelevant(seed, exponent):
    codes, labels = two_clouds(seed)
    factors = np.full(codes.shape[1], 1.0)
    factors[1] = 10.0**exponent
    there, scaled = LinearBoundary().fit(codes, labels), LinearBoundary().fit(codes * factors + 7, labels)
    np.testing.assert_array_equal(there.predict(codes), scaled.predict(codes * factors + 7))


def test_a_dimension_that_never_changes_has_no_part():
    codes, labels = two_clouds(1)
    codes[:, 3] = 4.2
    found = LinearBoundary().fit(codes, labels)
    assert found.normal_[3] == 0
    assert np.isfinite(found.intercept_)


def test_what_cannot_be_fitted_is_refused():
    codes, labels = two_clouds(1)
    with pytest.raises(ValueError, match="two classes, got 1 class"):
        LinearBoundary().fit(codes, labels * 0)
    with pytest.raises(ValueError, match="loss must be"):
        LinearBoundary(loss="log").fit(codes, labels)


def test_it_works_where_scikit_learn_expects_an_estimator():
    codes, labels = two_clouds(3)
    assert cross_val_score(LinearBoundary(), codes, np.array(["poor", "rich"])[labels], cv=3).mean() > 0.6


@parametrize_with_checks([LinearBoundary()])
def test_scikit_learn_agrees(estimator, check):
    check(estimator)
