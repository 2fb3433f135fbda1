"""What a step means: the curve from score to percentile where the truth is known, and whether its interval holds it."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.boundaries.units import PLACES, percentile_curve

BLOCKS, IN_EACH = 60, 6


def draw(seed, noise=0.15):
    """Scores of photographs, and percentiles that rise with them from 0.2 to 0.8, in blocks with errors in common."""
    rng = np.random.default_rng(seed)
    blocks = np.repeat(np.arange(BLOCKS), IN_EACH)
    scores = rng.uniform(-2, 2, len(blocks))
    errors = noise * (rng.standard_normal(BLOCKS)[blocks] + rng.standard_normal(len(blocks))) / 2**0.5
    return scores, np.clip(truth(scores) + errors, 0, 1), blocks


def truth(scores):
    return 0.5 + 0.15 * np.clip(scores, -2, 2)


def test_a_known_answer_without_noise():
    scores, percentiles, blocks = draw(1, noise=0.0)
    found = percentile_curve(scores, percentiles, blocks, 0.0, 3.0, 1)
    assert found["at"] == [round(k / PLACES, 4) for k in range(-PLACES, PLACES + 1)]
    np.testing.assert_allclose(found["score"], 1.5 * np.array(found["at"]), atol=1e-3)
    np.testing.assert_allclose(found["percentile"], truth(np.array(found["score"])), atol=0.01)
    assert np.max(np.subtract(found["high"], found["low"])) < 0.03


def test_a_step_function_by_hand():
    # Averages of neighbours that fall are pooled: 0.6 and 0.2 become 0.4 each; outside, the ends go on.
    scores, percentiles = np.array([0.0, 1.0, 2.0, 3.0]), np.array([0.1, 0.6, 0.2, 0.9])
    found = percentile_curve(scores, percentiles, np.arange(4), 1.5, 6.0, 1)
    at = dict(zip(found["score"], found["percentile"], strict=True))
    assert [at[s] for s in (-1.5, 1.0, 1.5, 2.0, 3.0, 4.5)] == [0.1, 0.4, 0.4, 0.4, 0.9, 0.9]


def test_the_interval_holds_the_truth_about_as_often_as_it_says():
    held = []
    for seed in range(20):
        found = percentile_curve(*draw(seed), 0.0, 3.0, seed)
        expected = truth(np.array(found["score"]))
        held.append((np.array(found["low"]) <= expected) & (expected <= np.array(found["high"])))
    assert 0.85 < np.mean(held) < 0.995


def test_blocks_with_errors_in_common_widen_it():
    scores, percentiles, blocks = draw(5, noise=0.3)
    widths = []
    for grouped in (blocks, np.arange(len(blocks))):
        found = percentile_curve(scores, percentiles, grouped, 0.0, 3.0, 1)
        widths.append(np.mean(np.subtract(found["high"], found["low"])))
    assert widths[0] > 1.2 * widths[1]


@settings(max_examples=6, deadline=None)
@given(st.integers(0, 10**6), st.floats(-1, 1), st.floats(0.1, 6))
def test_it_rises_and_stays_among_the_percentiles(seed, middle, span):
    scores, percentiles, blocks = draw(seed, noise=0.4)
    found = percentile_curve(scores, percentiles, blocks, middle, span, 1)
    assert found["percentile"] == sorted(found["percentile"])
    assert found["percentile"][0] >= round(percentiles.min(), 4)
    assert found["percentile"][-1] <= round(percentiles.max(), 4)
