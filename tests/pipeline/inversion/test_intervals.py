"""Intervals over blocks, against draws made one by one."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.inversion.intervals import Blocks


def data(n=200, blocks=20, seed=0):
    rng = np.random.default_rng(seed)
    names = [f"E{i % blocks}" for i in range(n)]
    x = rng.standard_normal(n) + 5
    return names, x, 0.8 * x + 0.6 * rng.standard_normal(n)


def test_the_values_are_numpy_s():
    names, x, y = data()
    blocks = Blocks(names, 1)
    assert blocks.count == 20
    assert blocks.mean(x).value == pytest.approx(x.mean())
    assert blocks.correlation(x, y).value == pytest.approx(np.corrcoef(x, y)[0, 1])


def test_an_interval_is_that_of_whole_blocks_drawn_one_by_one():
    names, x, y = data()
    found_mean = Blocks(names, 1, draws=4000).mean(x)
    found_r = Blocks(names, 1, draws=4000).correlation(x, y)
    members = [np.flatnonzero(np.array(names) == name) for name in sorted(set(names))]
    rng = np.random.default_rng(9)
    means, rs = [], []
    for _ in range(4000):
        rows = np.concatenate([members[k] for k in rng.integers(0, 20, 20)])
        means.append(x[rows].mean())
        rs.append(np.corrcoef(x[rows], y[rows])[0, 1])
    np.testing.assert_allclose(found_mean.interval, np.percentile(means, [2.5, 97.5]), atol=0.02)
    np.testing.assert_allclose(found_r.interval, np.percentile(rs, [2.5, 97.5]), atol=0.02)


def test_neighbours_that_are_alike_widen_the_interval():
    rng = np.random.default_rng(3)
    of_block = np.repeat(rng.standard_normal(20), 10)
    alone = Blocks([str(i) for i in range(200)], 1).mean(of_block)
    in_blocks = Blocks([str(i // 10) for i in range(200)], 1).mean(of_block)
    assert np.diff(in_blocks.interval)[0] > 2 * np.diff(alone.interval)[0]


@settings(max_examples=50)
@given(st.integers(0, 10**6), st.integers(1, 30), st.integers(1, 6))
def test_an_interval_holds_its_value(seed, n, blocks):
    names, x, y = data(n, blocks, seed)
    asked = Blocks(names, seed)
    for estimate in (asked.mean(x), asked.correlation(x, y)):
        if estimate.value is not None:
            low, high = estimate.interval
            assert low <= estimate.value <= high
            assert np.isfinite([low, high]).all()


def test_what_cannot_be_formed_is_none():
    names, x, _ = data()
    assert Blocks(names, 1).correlation(x, np.full(200, 0.3)).value is None
    one = Blocks(["a"], 1)
    assert one.mean(np.array([2.0])).interval == (2.0, 2.0)
    assert one.correlation(np.array([2.0]), np.array([3.0])).interval is None
    together = Blocks(["a"] * 5, 1).correlation(np.arange(5.0), np.arange(5.0) ** 2)
    np.testing.assert_allclose(together.interval, together.value)
