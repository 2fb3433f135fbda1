"""A generator that copies is flagged, one that does not is not."""

import numpy as np
import pytest

from pipeline.metrics.memorisation import memorisation as compare


@pytest.fixture
def photographs():
    return np.random.default_rng(0).standard_normal((200, 16))


HELD_OUT = np.arange(200) % 10 == 0


def memorisation(samples, photographs, held_out):
    """With a part of the photographs standing for new ones."""
    return compare(samples, photographs, photographs[held_out], photographs[~held_out])


def test_copies_are_flagged(photographs):
    rng = np.random.default_rng(1)
    shown = photographs[~HELD_OUT]
    copies = shown[rng.integers(0, len(shown), 100)] + 0.05 * rng.standard_normal((100, 16))
    found = memorisation(copies, photographs, HELD_OUT)
    assert found.flagged
    assert found.nearer > 0.99
    assert found.below_all > 0.99
    assert (found.samples, found.held_out, found.rest) == (100, 20, 180)
    assert np.allclose(np.linalg.norm(copies - photographs[found.photograph], axis=1), found.distance)


def test_a_few_copies_among_many_new_ones_are_seen_in_the_list_though_not_in_the_test(photographs):
    samples = np.concatenate([np.random.default_rng(2).standard_normal((95, 16)), photographs[5:10]])
    found = memorisation(samples, photographs, HELD_OUT)
    assert not found.flagged
    assert found.distance[95:].max() < 1e-6 < found.distance[:95].min()


def test_new_samples_of_the_same_distribution_are_not_flagged(photographs):
    flagged = [
        memorisation(np.random.default_rng(i).standard_normal((100, 16)), photographs, HELD_OUT).flagged
        for i in range(3, 23)
    ]
    assert sum(flagged) <= 1


def test_samples_far_away_are_not_flagged(photographs):
    found = memorisation(photographs + 3, photographs, HELD_OUT)
    assert found.flagged is False
    assert found.p_value > 0.5


def test_nothing_is_said_where_too_few_are_held_out(photographs):
    found = memorisation(photographs[:5], photographs, np.arange(200) < 9)
    assert found.flagged is None
    assert found.p_value is None
    assert found.distance.max() < 1e-6


def test_copies_of_any_photograph_are_flagged_against_photographs_never_seen(photographs):
    """Also of those that would stand for new ones, had none been held out: there they pass for new."""
    rng = np.random.default_rng(1)
    copies = photographs[HELD_OUT][rng.integers(0, HELD_OUT.sum(), 100)] + 0.05 * rng.standard_normal((100, 16))
    unseen = np.random.default_rng(3).standard_normal((100, 16))
    found = compare(copies, photographs, unseen)
    assert found.flagged
    assert (found.samples, found.held_out, found.rest) == (100, 100, 200)
    assert found.median_sample < found.median_held_out / 5
    assert not memorisation(copies, photographs, HELD_OUT).flagged
    fresh = np.random.default_rng(4).standard_normal((100, 16))
    assert not compare(fresh, photographs, unseen).flagged
