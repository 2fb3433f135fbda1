"""Both protocols: what leaks is seen to leak, what is chance is called chance."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atlas.errors import InputError
from atlas.preset import BoundarySettings
from pipeline.boundaries.evaluation import (
    Case,
    block_split,
    c_grid,
    choose_c,
    evaluate,
    out_of_fold,
    p_value,
    permuted_auc,
    random_split,
    shared_c,
)
from pipeline.boundaries.solver import Gram
from pipeline.boundaries.svm import LinearBoundary


def case(seed=0, blocks=30, areas_per_block=2, per_area=5, strength=1.0, look=0.0, dim=12, step=2000.0) -> Case:
    """Areas in blocks; codes hold ``strength`` of the class and ``look`` of what only an area shows, by chance."""
    rng = np.random.default_rng(seed)
    areas = np.repeat(np.arange(blocks * areas_per_block), per_area)
    block = areas // areas_per_block
    labels = rng.permutation(np.arange(blocks * areas_per_block) % 2)[areas]
    codes = rng.standard_normal((len(areas), dim)) + look * rng.standard_normal((areas.max() + 1, dim))[areas]
    codes[:, 0] += strength * labels
    places = np.stack([step * block, np.zeros(len(block))], 1) + rng.normal(0, 20, (len(block), 2))
    return Case("health", Gram.of(codes), labels, areas, block, places)


def test_what_only_an_area_tells_is_not_learnt_and_the_leak_is_said():
    found = evaluate(case(strength=0.0, look=2.0, dim=40), BoundarySettings(permutations=50, bootstraps=200), 1)
    random, blocks = found["rows"]
    assert random["protocol"] == "random"
    assert random["auc"] > 0.8
    assert blocks["auc"] < 0.65
    assert blocks["p"] > 0.02
    assert found["leakage"]["auc_interval"][0] > 0.1
    assert found["leakage"]["auc"] == pytest.approx(random["auc"] - blocks["auc"], abs=1e-5)
    assert found["leakage"]["f1"] == pytest.approx(random["f1"] - blocks["f1"], abs=1e-5)


def test_what_the_codes_hold_is_found():
    some = case(strength=2.0)
    found = evaluate(some, BoundarySettings(permutations=99, bootstraps=200), 1)
    for row in found["rows"]:
        assert 0.85 < row["auc"] < 0.99
        assert row["f1_interval"][0] <= row["f1"] <= row["f1_interval"][1]
    blocks = found["rows"][1]
    assert blocks["p"] == pytest.approx(0.01)
    assert 0.35 < blocks["null_auc"][1] < 0.5 < blocks["null_auc"][2] < 0.65
    assert (blocks["n"], blocks["areas"], blocks["blocks"], blocks["folds"]) == (300, 60, 30, 5)
    assert (blocks["n_train"], blocks["left_out_near"]) == (240, 0)
    assert set(blocks["c"]) <= set(c_grid(some))


def test_the_margin_is_kept():
    crowded = case(step=60.0)
    split = block_split(crowded, 5, 1)
    apart = np.abs(crowded.places[:, None, 0] - crowded.places[None, :, 0])
    for fold in range(5):
        test, train = split.fold_of == fold, split.train[:, fold]
        assert not (test & train).any()
        full = np.linalg.norm(crowded.places[train][:, None] - crowded.places[test][None], axis=2)
        assert full.min() > 100
        assert (~train & ~test).any()
    row = evaluate(crowded, BoundarySettings(permutations=0, bootstraps=100), 1)["rows"][1]
    assert row["left_out_near"] > 0
    assert row["n_train"] + row["left_out_near"] == pytest.approx(240, abs=1)
    assert "p" not in row
    assert apart.min() == 0


def test_predictions_are_by_machines_that_have_not_seen_the_fold():
    some = case()
    split = block_split(some, 3, 1)
    found, _ = out_of_fold(some, split, np.full(3, 0.01))
    codes = some.gram.rows.astype(np.float64)
    for fold in range(3):
        train, test = split.train[:, fold], split.fold_of == fold
        alone = LinearBoundary(c=0.01, standardise=False).fit(codes[train], some.labels[train])
        theirs = alone.decision_function(codes[test]) * alone.scale_
        assert np.corrcoef(found.scores[test], theirs)[0, 1] > 0.999  # classes weigh the same here, nearly so there


def test_c_is_chosen_within_the_training_part():
    some = case(strength=0.7, dim=60)
    split = block_split(some, 4, 1)
    chosen = choose_c(some, split, 3)
    assert set(chosen) <= set(c_grid(some))
    # What the test part holds must not matter.
    labels = some.labels.copy()
    test = split.fold_of == 0
    labels[test] = 1 - labels[test]
    flipped = Case(some.name, some.gram, labels, some.areas, some.blocks, some.places)
    assert choose_c(flipped, split, 3)[0] == chosen[0]


def test_c_as_set_is_kept():
    some, given_ = case(), BoundarySettings(c=0.5, permutations=0, bootstraps=100)
    assert shared_c([(some, block_split(some, 5, 1))] * 3, given_) == [0.5] * 3
    assert [row["c"] for row in evaluate(some, given_, 1)["rows"]] == [[0.5] * 5] * 2


def test_all_axes_get_the_same_place_on_the_grid():
    cases = [case(seed, strength=s) for seed, s in enumerate((0.5, 1.0, 2.0))]
    found = shared_c([(c, block_split(c, 5, 1)) for c in cases], BoundarySettings())
    places = {int(np.flatnonzero(np.isclose(c_grid(c), chosen))[0]) for c, chosen in zip(cases, found, strict=True)}
    assert len(places) == 1


def test_permuted_classes_stay_together_by_area_and_chance_is_even():
    ps = []
    for seed in range(30):
        some = case(seed, blocks=12, strength=0.0, look=1.0, dim=5)
        areas = permuted_auc(some, block_split(some, 3, seed), np.full(3, 0.01), 39, seed)
        ps.append(p_value(areas[1:], areas[0]))
    assert 0.3 < np.mean(ps) < 0.7
    assert np.mean(np.array(ps) <= 0.1) < 0.3


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30), st.floats(0, 1))
def test_p_is_never_nothing(null, observed):
    p = p_value(np.array(null), observed)
    assert 1 / (1 + len(null)) <= p <= 1


@settings(max_examples=2, deadline=None)
@given(st.integers(0, 1000))
def test_the_same_seed_gives_the_same_numbers(seed):
    given_ = BoundarySettings(permutations=5, bootstraps=100, folds=3)
    assert evaluate(case(blocks=9), given_, seed) == evaluate(case(blocks=9), given_, seed)


def test_too_few_blocks():
    with pytest.raises(InputError, match="axis health has photographs in 4 blocks of 1 km in its extremes and 5 folds"):
        block_split(case(blocks=4), 5, 1)


def test_a_class_that_is_left_without_teachers():
    some = case(blocks=4, areas_per_block=1, step=10.0)  # all within 100 m of each other
    with pytest.raises(InputError, match="fell into one fold or within 100 m of it: lower --folds"):
        block_split(some, 2, 1)


def test_a_training_part_of_one_block():
    some = case(blocks=2, areas_per_block=8)
    with pytest.raises(InputError, match=r"1 block only, in which C cannot be chosen: give --c"):
        choose_c(some, block_split(some, 2, 1), 1)


def test_random_split_takes_no_heed_of_place():
    some = case(step=1.0)
    split = random_split(some, 5, 1)
    assert (split.train.sum(0) == 240).all()
