import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from atlas.errors import InputError
from atlas.grid import Grid
from pipeline.boundaries.directions import conditional_directions
from pipeline.boundaries.store import Boundaries, step_sizes
from pipeline.inversion.latents import Latents
from pipeline.render.bases import inverted_bases, parse_bases
from pipeline.render.walks import Walks

D, LAYERS = 12, 4


def boundaries(seed):
    rng = np.random.default_rng(seed)
    normals = rng.standard_normal((3, D)) + 1.5 * rng.standard_normal(D)
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    directions = conditional_directions(normals)
    return Boundaries(
        method="projector",
        space="w",
        num_ws=LAYERS,
        w_dim=D,
        normals=normals,
        intercepts=rng.standard_normal(3),
        scales=np.ones(3),
        directions=directions.vectors,
        retained=directions.retained,
        score_span=rng.uniform(1, 3, 3),
        place_span=rng.uniform(1, 3, 3),
    )


def walks(found, bases, steps, seed=0):
    vectors = found.directions * step_sizes(found, steps)[:, None]
    layered = np.repeat(vectors[:, None], LAYERS, axis=1).astype(np.float32)
    codes = np.random.default_rng(seed).standard_normal((bases, 1, D)).repeat(LAYERS, axis=1).astype(np.float32)
    return Walks(Grid(bases, steps), codes, layered)


@given(st.integers(0, 10_000), st.integers(1, 4), st.data())
def test_a_step_moves_its_own_score_by_one_step_of_the_span_and_leaves_the_others_alone(seed, steps, data):
    found = boundaries(seed)
    grid = walks(found, 1, steps)
    scores = grid.scores(found)
    node = [data.draw(st.integers(-steps, steps)) for _ in range(3)]
    moved = scores[grid.grid.index(0, *node)] - scores[grid.grid.index(0, 0, 0, 0)]
    np.testing.assert_allclose(moved, np.array(node) * found.score_span / (2 * steps), atol=2e-5)


def test_the_middle_of_the_grid_is_the_base_itself():
    grid = walks(boundaries(1), 3, 2)
    for base in range(3):
        np.testing.assert_array_equal(grid.plane(base, 2)[2, 2], grid.bases[base])


def test_scores_have_the_grid_s_shape():
    grid = walks(boundaries(1), 2, 1)
    assert grid.scores(boundaries(1)).shape == (2, 3, 3, 3, 3)


def test_bases_are_read():
    assert parse_bases("random:60") == ("random", 60)
    assert parse_bases("inverted:a.png, b") == ("inverted", ("a.png", "b"))


@pytest.mark.parametrize(
    "text", ["random", "random:0", "random:x", "random:-1", "inverted:", "inverted: ,", "other:3", ""]
)
def test_anything_else_is_refused(text):
    with pytest.raises(InputError, match="bases must be random:COUNT or inverted:FILE"):
        parse_bases(text)


def test_photographs_are_found_by_file_or_stem_and_a_missing_one_is_named():
    files = ("00000/img00000003.png", "00000/img00000007.png")
    w = np.arange(2 * LAYERS * D, dtype=np.float32).reshape(2, LAYERS, D)
    latents = Latents(w=w, files=files, measures={})
    found = inverted_bases(latents, ("img00000007", "00000/img00000003.png"))
    np.testing.assert_array_equal(found.codes, w[[1, 0]])
    assert found.names == ("img00000007", "img00000003")
    with pytest.raises(InputError, match="img00000001 is not among the 2 inverted photographs"):
        inverted_bases(latents, ("img00000001",))
