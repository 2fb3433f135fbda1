"""Distances of two sets against closed forms, known sets and properties."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.metrics import statistics as s


def normal(count, features, seed, mean=0.0, scale=1.0):
    return mean + scale * np.random.default_rng(seed).standard_normal((count, features))


def exact(mean, covariance, count=400, seed=0):
    """A set with exactly this mean and covariance."""
    x = normal(count, len(mean), seed)
    x -= x.mean(0)
    x = x @ np.linalg.inv(np.linalg.cholesky(np.cov(x, rowvar=False, bias=True))).T
    return x @ np.linalg.cholesky(covariance).T + mean


def test_frechet_distance_of_two_normal_distributions():
    a = exact(np.array([1.0, 2.0, 0.0]), np.diag([1.0, 4.0, 9.0]))
    b = exact(np.array([0.0, 2.0, 2.0]), np.diag([4.0, 1.0, 9.0]), seed=1)
    # Commuting covariances: Σ (√λ − √μ)² = 1 + 1 + 0, and the means are √5 apart.
    assert s.frechet_distance(a, b) == pytest.approx(5 + 2)


def test_frechet_distance_of_covariances_that_do_not_commute():
    from scipy.linalg import sqrtm

    one, two = np.array([[2.0, 0.9], [0.9, 1.0]]), np.array([[1.0, -0.5], [-0.5, 3.0]])
    zero = np.zeros(2)
    wanted = np.trace(one + two - 2 * sqrtm(one @ two).real)
    assert s.frechet_distance(exact(zero, one), exact(zero, two, seed=1)) == pytest.approx(wanted)


@settings(max_examples=25)
@given(seed=st.integers(0, 2**20), shift=st.floats(-3, 3), n=st.integers(3, 30), features=st.integers(1, 12))
def test_frechet_distance_properties(seed, shift, n, features):
    a, b = normal(n, features, seed), normal(n + 5, features, seed + 1)
    assert s.frechet_distance(a, a) == pytest.approx(0, abs=1e-6)
    assert s.frechet_distance(a, b) == pytest.approx(s.frechet_distance(b, a), rel=1e-6, abs=1e-6)
    assert s.frechet_distance(a, a + shift) == pytest.approx(features * shift**2, rel=1e-6, abs=1e-6)


def test_kernel_distance_is_unbiased():
    values = [s.kernel_distance(normal(200, 8, 2 * i), normal(300, 8, 2 * i + 1), i).value for i in range(60)]
    assert abs(np.mean(values)) < 3 * np.std(values) / np.sqrt(len(values))
    assert min(values) < 0 < max(values)


def test_the_interval_of_the_kernel_distance_covers_nought_as_often_as_it_says():
    covered = 0
    for i in range(80):
        found = s.kernel_distance(normal(200, 4, 2 * i), normal(200, 4, 2 * i + 1), i)
        covered += found.low <= 0 <= found.high
    assert covered >= 68  # 76 expected; fewer than 68 has a chance of 0.1 %


def test_kernel_distance_against_the_definition():
    a, b = normal(40, 3, 0), normal(45, 3, 1, mean=1.0)

    def kernel(x, y):
        return (x @ y / 3 + 1) ** 3

    found = s.kernel_distance(a, b, 5)
    rng = np.random.default_rng(5)
    p, q = rng.permutation(40), rng.permutation(45)
    values = []
    for block in range(10):
        x, y = a[p[4 * block : 4 * block + 4]], b[q[4 * block : 4 * block + 4]]
        xx = np.mean([kernel(x[i], x[j]) for i in range(4) for j in range(4) if i != j])
        yy = np.mean([kernel(y[i], y[j]) for i in range(4) for j in range(4) if i != j])
        values.append(xx + yy - 2 * np.mean([kernel(u, v) for u in x for v in y]))
    assert (found.blocks, found.size) == (10, 4)
    assert found.value == pytest.approx(np.mean(values))
    assert found.low < found.value < found.high


def test_kernel_distance_grows_with_the_difference_and_is_seeded():
    a = normal(300, 6, 0)
    near, far = normal(300, 6, 1, mean=0.3), normal(300, 6, 1, mean=1.0)
    assert s.kernel_distance(a, near, 1).value < s.kernel_distance(a, far, 1).value
    assert s.kernel_distance(a, near, 1) == s.kernel_distance(a, near, 1)
    assert s.kernel_distance(a, near, 1) != s.kernel_distance(a, near, 2)
    with pytest.raises(ValueError, match="20 samples"):
        s.kernel_distance(a[:19], near, 1)


def test_precision_and_recall_of_known_sets():
    line = np.arange(10.0)[:, None]  # each ball reaches to the third neighbour: 2 inside, 3 at the ends
    assert s.precision_recall(line, line + 0.5) == (1.0, 1.0)
    assert s.precision_recall(line, line + 100) == (0.0, 0.0)
    half = np.concatenate([line[:5] + 0.25, line[:5] + 100])
    precision, recall = s.precision_recall(line, half)
    assert precision == 0.5
    assert recall > 0.5  # the balls of the five near fakes reach beyond them, those of the far ones do not come near
    few = np.full((10, 1), 4.0) + np.arange(10)[:, None] * 0.01  # all in one place: precise, and little is recalled
    assert s.precision_recall(line, few) == (1.0, 0.1)


def test_strips_change_nothing(monkeypatch):
    a, b = normal(37, 5, 0), normal(53, 5, 1)
    whole = s.precision_recall(a, b), s.nearest(a, b)
    monkeypatch.setattr(s, "STRIP", 7)
    in_strips = s.precision_recall(a, b), s.nearest(a, b)
    assert whole[0] == in_strips[0]
    assert np.array_equal(whole[1][0], in_strips[1][0])
    assert np.allclose(whole[1][1], in_strips[1][1])


@settings(max_examples=25)
@given(seed=st.integers(0, 2**20), n=st.integers(4, 20), m=st.integers(4, 20))
def test_nearest_by_brute_force(seed, n, m):
    a, b = normal(n, 3, seed), normal(m, 3, seed + 1)
    distances = np.linalg.norm(a[:, None] - b[None], axis=2)
    index, distance = s.nearest(a, b)
    assert np.array_equal(index, distances.argmin(1))
    assert np.allclose(distance, distances.min(1))
