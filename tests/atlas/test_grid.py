import pytest
from hypothesis import given
from hypothesis import strategies as st

from atlas.grid import AXES, Grid

grids = st.builds(Grid, bases=st.integers(1, 100), steps=st.integers(1, 30))


def test_the_paper_counts_937500_images():
    assert Grid(bases=60, steps=12).images == 937_500


def test_axes_are_always_in_this_order():
    assert AXES == ("health", "income", "education")


@given(grids, st.data())
def test_index_stays_inside_the_array_and_zero_is_the_middle(grid, data):
    step = st.integers(-grid.steps, grid.steps)
    base = data.draw(st.integers(0, grid.bases - 1))
    h, i, e = data.draw(step), data.draw(step), data.draw(step)
    index = grid.index(base, h, i, e)
    assert all(0 <= at < size for at, size in zip(index, grid.shape, strict=True))
    assert tuple(at - grid.steps for at in index[1:]) == (h, i, e)


@pytest.mark.parametrize(
    ("node", "named"),
    [((2, 0, 0, 0), "base"), ((0, 4, 0, 0), "health"), ((0, 0, -4, 0), "income"), ((0, 0, 0, 9), "education")],
)
def test_a_node_outside_the_grid_is_named(node, named):
    with pytest.raises(IndexError, match=named):
        Grid(bases=2, steps=3).index(*node)


@given(grids)
def test_planes_cover_every_base_and_health_once(grid):
    planes = list(grid.planes())
    assert len(planes) == len(set(planes)) == grid.bases * grid.side
    assert grid.images == len(planes) * grid.side**2


@pytest.mark.parametrize(("bases", "steps"), [(0, 1), (1, 0), (-1, 3)])
def test_an_empty_grid_is_refused(bases, steps):
    with pytest.raises(ValueError, match="at least 1"):
        Grid(bases=bases, steps=steps)
