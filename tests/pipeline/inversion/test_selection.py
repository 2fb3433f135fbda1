"""Which photographs are inverted."""

from types import SimpleNamespace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.inversion.selection import choose_compared, choose_photographs, extremes, held_out

percentiles = st.integers(0, 2**32 - 1).map(lambda seed: np.random.default_rng(seed).random((200, 3)))


def test_classes_at_their_edges():
    edges = np.array([[0.2, 0.8, 0.5], [0.0, 1.0, 0.21], [np.float32(0.2), np.float32(0.8), 0.79]])
    assert extremes(edges).tolist() == [[-1, 1, 0], [-1, 1, 0], [-1, 1, 0]]


def test_halves_do_not_overlap():
    assert extremes(np.array([[0.49, 0.5, 0.51]]), 0.5).tolist() == [[-1, -1, 1]]


def test_without_a_limit_all_or_all_extremes():
    p = np.random.default_rng(1).random((300, 3))
    assert choose_photographs(p, "all", 0, 1).tolist() == list(range(300))
    some = choose_photographs(p, "extremes", 0, 1)
    assert some.tolist() == np.flatnonzero((extremes(p) != 0).any(1)).tolist()


@settings(max_examples=50)
@given(percentiles, st.integers(1, 250), st.integers(0, 1000), st.sampled_from(["all", "extremes"]))
def test_a_limit_is_kept_in_order_and_from_the_candidates(p, limit, seed, kind):
    chosen = choose_photographs(p, kind, limit, seed)
    candidates = choose_photographs(p, kind, 0, seed)
    assert len(chosen) == min(limit, len(candidates))
    assert set(chosen) <= set(candidates)
    assert (np.diff(chosen) > 0).all()
    assert chosen.tolist() == choose_photographs(p, kind, limit, seed).tolist()


def test_classes_are_even_even_where_photographs_are_not():
    rng = np.random.default_rng(2)
    p = rng.random((5000, 3)) ** 3  # far more deprived than not
    classes = extremes(p[choose_photographs(p, "extremes", 300, 7)])
    counts = np.concatenate([(classes == -1).sum(0), (classes == 1).sum(0)])
    assert counts.min() > 0.7 * counts.max()
    random = extremes(p[rng.choice(5000, 300, replace=False)])
    counts = np.concatenate([(random == -1).sum(0), (random == 1).sum(0)])
    assert counts.min() < 0.3 * counts.max()  # what chance alone would have given


def test_held_out_blocks_are_whole_and_stay():
    photos = [SimpleNamespace(group=f"E{i % 400}N1") for i in range(1200)]
    mask = held_out(photos, 0.2)
    assert 0.1 < mask.mean() < 0.3
    assert mask[:400].tolist() == mask[400:800].tolist() == mask[800:].tolist()
    assert held_out(photos[::-1], 0.2).tolist() == mask[::-1].tolist()
    assert held_out(photos, 0.5)[mask].all()


def test_the_compared_are_held_out_and_the_same_from_any_part_that_has_them():
    photos = [SimpleNamespace(group=f"E{i % 100}N1", source_id=f"{i}.jpg") for i in range(1000)]
    mask = held_out(photos)
    chosen = choose_compared(photos, 20, 3)
    assert len(chosen) == 20
    assert mask[chosen].all()
    assert (np.diff(chosen) > 0).all()
    part = np.random.default_rng(0).random(1000) < 0.5
    part[chosen] = True
    assert choose_compared(photos, 20, 3, among=part).tolist() == chosen.tolist()
    assert choose_compared(photos, 20, 4).tolist() != chosen.tolist()
    assert choose_compared(photos, 10_000, 3).tolist() == np.flatnonzero(mask).tolist()
    assert len(choose_compared(photos, 20, 3, among=~mask)) == 0
