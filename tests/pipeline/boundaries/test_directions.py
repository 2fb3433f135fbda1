"""Conditional directions: as InterFaceGAN has them, and what must hold for any three normals."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from safetensors.numpy import load_file
from scipy.stats import norm

from atlas.errors import InputError
from pipeline.boundaries.directions import conditional_directions, cosines, partial_directions, project_boundary

PARITY = Path(__file__).resolve().parents[2] / "parity"


@pytest.fixture(scope="module")
def recorded():
    facts = json.loads((PARITY / "inversion.json").read_text())
    return load_file(PARITY / "interfacegan.safetensors"), next(
        f for f in facts["fixtures"] if f["kind"] == "interfacegan"
    )


@pytest.mark.parametrize("conditions", range(5))
@pytest.mark.parametrize("primal", range(3))
def test_projection_as_recorded(recorded, primal, conditions):
    tensors, facts = recorded
    given_ = tensors[f"in.primal.{primal}"][0].astype(np.float64)
    others = np.stack([tensors[f"in.cond.{i}"][0] for i in range(4)])[:conditions].astype(np.float64)
    name = f"out.project.primal{primal}.cond{conditions}"
    found = project_boundary(given_, others)
    assert np.abs(found - tensors[name][0]).max() <= facts["suggested_atol"][name]


def test_projection_as_recorded_in_double(recorded):
    tensors, _ = recorded
    others = np.stack([tensors[f"in.cond.{i}"][0] for i in range(3)]).astype(np.float64)
    found = project_boundary(tensors["in.primal.0"][0].astype(np.float64), others)
    assert np.abs(found - tensors["out.project_f64.primal0.cond3"][0]).max() < 1e-9


def unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@st.composite
def normals(draw):
    """Three unit normals, from nearly orthogonal to nearly the same."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    dim, likeness = draw(st.integers(3, 40)), draw(st.floats(0, 30))
    return unit(rng.standard_normal((3, dim)) + likeness * rng.standard_normal(dim))


@given(normals(), st.floats(-20, 20))
def test_a_walk_leaves_the_other_scores_alone(given_, length):
    found = conditional_directions(given_)
    np.testing.assert_allclose(np.linalg.norm(found.vectors, axis=1), 1)
    moved = length * found.vectors @ given_.T  # [walked, scored]
    np.testing.assert_allclose(moved, np.diag(length * found.retained), atol=1e-9)


@given(normals())
def test_what_is_retained_is_the_cosine_with_the_own_normal(given_):
    found = conditional_directions(given_)
    assert ((found.retained > 0) & (found.retained <= 1 + 1e-12)).all()
    np.testing.assert_allclose((found.vectors * given_).sum(1), found.retained, atol=1e-9)


@given(normals(), st.permutations(range(3)))
def test_the_order_of_the_axes_does_not_matter(given_, order):
    there, back = conditional_directions(given_), conditional_directions(given_[order])
    np.testing.assert_allclose(there.vectors[order], back.vectors, atol=1e-7)


def test_orthogonal_normals_stay_as_they_are():
    found = conditional_directions(np.eye(3, 5))
    np.testing.assert_allclose(found.vectors, np.eye(3, 5))
    np.testing.assert_allclose(found.retained, 1)


def test_one_after_the_other_would_not_do():
    given_ = unit(np.array([[1.0, 0.2, 0.1, 0], [1, -0.3, 0.2, 0.1], [1, 0, -0.4, 0.3]]))
    naive = given_[0]
    for other in given_[1:]:
        naive = naive - (naive @ other) * other
    assert abs(naive @ given_[1]) > 0.01
    assert abs(conditional_directions(given_).vectors[0] @ given_[1]) < 1e-12


@given(normals())
def test_an_axis_within_the_span_of_the_others_is_refused(given_):
    assume(abs(given_[0] @ given_[1]) < 0.9)
    given_[2] = unit((given_[0] + given_[1])[None])[0]
    with pytest.raises(InputError, match="the boundary of health cannot be told"):
        conditional_directions(given_)


def test_partial_directions_are_least_squares_on_normal_scores():
    rng = np.random.default_rng(3)
    codes, percentiles = rng.standard_normal((2500, 7)) + 5, rng.random((2500, 3))
    percentiles[:, 1] = (percentiles[:, 1] + percentiles[:, 0]) / 2
    percentiles[0] = 0, 0.5, 1  # the ends are some score too
    codes[:, :3] += percentiles
    design = np.column_stack([np.ones(2500), norm.ppf(percentiles).clip(-3, 3)])
    expected = unit(np.linalg.lstsq(design, codes, rcond=None)[0][1:])
    np.testing.assert_allclose(partial_directions(codes, percentiles), expected, atol=1e-9)
    times = rng.integers(0, 3, (2, 2500))  # a photograph that counts twice is one that is there twice
    found = partial_directions(codes, percentiles, times)
    for k in range(2):
        repeated = np.repeat(np.arange(2500), times[k])
        np.testing.assert_allclose(found[k], partial_directions(codes[repeated], percentiles[repeated]), atol=1e-9)


def test_what_bends_with_one_dimension_does_not_show_up_as_anothers():
    """The areas' scores are jointly normal, and a code grows with the first like a step that is rounded off."""
    rng = np.random.default_rng(5)
    mixing = np.linalg.cholesky([[1, 0.8, 0.6], [0.8, 1, 0.7], [0.6, 0.7, 1]])
    percentiles = norm.cdf(rng.standard_normal((200_000, 3)) @ mixing.T)
    own = norm.cdf(norm.ppf(percentiles) * [0.5, 3, 1])  # slowly, steeply, straight
    codes = own / own.std(0)
    found = partial_directions(codes, percentiles)
    assert np.abs(found - np.eye(3)).max() < 0.01
    design = np.column_stack([np.ones(len(codes)), percentiles])
    assert np.abs(unit(np.linalg.lstsq(design, codes, rcond=None)[0][1:]) - np.eye(3)).max() > 0.03


def test_a_percentile_that_never_changes_has_no_partial_direction():
    percentiles = np.random.default_rng(0).random((50, 3))
    percentiles[:, 1] = 0.5
    found = partial_directions(np.random.default_rng(1).random((50, 4)), percentiles)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), [1, 0, 1])


def test_cosines():
    found = cosines(unit(np.array([[1.0, 0], [1, 1], [0, -2]])))
    np.testing.assert_allclose(found, [[1, 0.5**0.5, 0], [0.5**0.5, 1, -(0.5**0.5)], [0, -(0.5**0.5), 1]], atol=1e-12)


def test_where_nothing_is_left_the_direction_points_nowhere():
    given_ = np.array([1.0, 2.0, 3.0])
    np.testing.assert_array_equal(project_boundary(given_, 2 * given_[None]), np.zeros(3))
    np.testing.assert_array_equal(project_boundary(np.zeros(3), given_[None]), np.zeros(3))
