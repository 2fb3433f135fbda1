"""UMAP, where it is installed: `pip install "inequality-atlas[umap]"`, 200 MB that compile for half a minute first.

That it is missed before any work begins, where it is not installed, is in `test_sources`.
"""

import numpy as np
import pytest

from atlas.preset import BoundarySettings
from pipeline.boundaries.figures.sheets import Figures, umap_points
from pipeline.boundaries.fitting import fit_boundaries
from pipeline.boundaries.sample import join
from pipeline.inversion import read_latents
from pipeline.photos.dataset import open_dataset

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:n_jobs value")]
pytest.importorskip("umap", reason="the extra umap is not installed")


def test_what_lies_apart_is_drawn_apart_and_the_same_again():
    codes = np.random.default_rng(0).standard_normal((120, 8))
    codes[60:, 0] += 12
    points = umap_points(codes, 1)
    assert points.shape == (120, 2)
    distances = np.linalg.norm(points[:, None] - points, axis=-1)
    np.fill_diagonal(distances, np.inf)
    nearest = distances.argmin(1)
    assert ((nearest >= 60) == (np.arange(120) >= 60)).all()
    np.testing.assert_array_equal(umap_points(codes, 1), points)
    assert (umap_points(codes, 2) != points).any()


def test_the_figure(few, tmp_path):
    labelled = join(read_latents(few.latents), open_dataset(few.data))
    fit = fit_boundaries(labelled, BoundarySettings(c=0.01), 1, "projector", (4, 16))
    drawn = {}
    for name in ("once", "again"):
        figures = Figures(tmp_path / name, False, 1, {})
        figures.projection(fit, 1, True)
        (said,) = figures.said.values()
        assert said["numbers"] == {"neighbours": 15, "n": [int((fit.axes[1].sample.labels == k).sum()) for k in (0, 1)]}
        drawn[name] = {path.name: path.read_bytes() for path in (tmp_path / name).iterdir()}
    assert sorted(drawn["once"]) == ["projection-projector-income.png", "projection-projector-income.svg"]
    assert b"UMAP 1" in drawn["once"]["projection-projector-income.svg"]
    assert drawn["once"] == drawn["again"]
