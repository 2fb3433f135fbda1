"""The controller of the augmentation."""

from hypothesis import given
from hypothesis import strategies as st

from pipeline.gan.ada import AdaController

signs = st.lists(st.floats(-1, 1), max_size=60)


@given(signs, st.floats(0, 1), st.floats(0.05, 1), st.integers(1, 5000))
def test_p_stays_in_its_limits_and_moves_by_its_speed(seen, target, p_max, images):
    ada = AdaController(target=target, kimg=10, p_max=p_max)
    for r_t in seen:
        before = ada.p
        ada.adjust(r_t, images)
        assert 0 <= ada.p <= p_max
        assert abs(ada.p - before) <= images / 10_000 + 1e-12
        assert (ada.p - before) * (r_t - target) >= 0
        assert ada.r_t == r_t


def test_confidence_raises_p_to_its_limit_in_the_time_that_was_set():
    ada = AdaController(target=0.6, kimg=500, p_max=1.0)
    for _ in range(500_000 // 64):
        ada.adjust(1.0, 64)
    assert 0.999 < ada.p <= 1.0


def test_p_is_at_rest_on_target():
    ada = AdaController(target=0.6, kimg=1, p_max=1.0, p=0.25)
    ada.adjust(0.6, 64)
    assert ada.p == 0.25


@given(target=st.floats(0.3, 0.9), slope=st.floats(0.2, 2), start=st.floats(0, 1), images=st.integers(100, 1000))
def test_p_settles_where_confidence_is_on_target(target, slope, start, images):
    """A discriminator whose confidence falls with p: the controller ends within a step of where it is the target."""
    ada = AdaController(target=target, kimg=100, p_max=1.0, p=start)
    for _ in range(2 * 100_000 // images):
        ada.adjust(min(max(1.0 - slope * ada.p, -1.0), 1.0), images)
    settled = min((1.0 - target) / slope, 1.0)
    assert abs(ada.p - settled) <= images / 100_000 + 1e-9
