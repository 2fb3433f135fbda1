"""InterFaceGAN's walks in W and W+, and its boundaries on the codes that it never looked at, as recorded."""

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from atlas.grid import Grid
from pipeline.boundaries import LinearBoundary
from pipeline.boundaries.store import Boundaries
from pipeline.boundaries.walking import walk_codes
from pipeline.render.walks import Walks

PARITY = Path(__file__).resolve().parents[2] / "parity"
DIM = 512


@pytest.fixture(scope="module")
def recorded():
    facts = json.loads((PARITY / "inversion.json").read_text())["fixtures"]
    return load_file(PARITY / "interfacegan.safetensors"), next(f for f in facts if f["kind"] == "interfacegan")


@pytest.fixture(scope="module")
def boundaries(recorded):
    """Boundaries through the origin; the recorded walks go along the first."""
    normals = np.concatenate([recorded[0][f"in.primal.{k}"] for k in range(3)]).astype(np.float64)

    def make(num_ws):
        span = np.full(3, 2.0)  # half a walk is of length 1
        return Boundaries("", "w", num_ws, DIM, normals, np.zeros(3), np.ones(3), normals, np.ones(3), span, span)

    return make


def near(found, recorded, name):
    tensors, facts = recorded
    assert found.shape == tensors[name].shape
    assert np.abs(found - tensors[name]).max() <= facts["suggested_atol"][name]


def test_the_walk_in_w_goes_to_given_scores(recorded, boundaries):
    """There distances are absolute: from the hyperplane, and not from the code."""
    base, asked = recorded[0]["in.latent_w"], np.linspace(-3, 3, 10)
    found = boundaries(1)
    codes = walk_codes(base, found.half_walks(), asked - found.scores(base[None])[0, 0])
    near(codes[0, :, 0], recorded, "out.interp.w")
    np.testing.assert_allclose(found.scores(codes[0])[:, 0], asked, atol=1e-5)


def test_the_walk_in_w_plus_moves_all_layers_alike(recorded, boundaries):
    (base,) = recorded[0]["in.latent_wplus"]
    codes = walk_codes(base, boundaries(len(base)).half_walks(), np.linspace(-2, 4, 4))
    near(codes[0], recorded, "out.interp.wplus")


def test_the_grid_that_is_rendered_walks_the_same_way(recorded, boundaries):
    base = recorded[0]["in.latent_wplus"]
    walks = Walks(Grid(1, 4), base, boundaries(base.shape[1]).half_walks())
    middle = 4
    codes = [walks.plane(0, health + middle)[middle, middle] for health in (-2, 0, 2, 4)]
    near(np.stack(codes), recorded, "out.interp.wplus")


@pytest.mark.parametrize(("case", "share"), [("noisy", 0.25), ("ends2pct", 0.02)])
def test_codes_that_no_boundary_was_made_from(recorded, case, share):
    """Of all codes the ends by score teach and judge; the rest are told from each other by the middle of the range."""
    tensors, facts = recorded
    codes, scores = tensors[f"in.svm.{case}.latent_codes"], tensors[f"in.svm.{case}.scores"][:, 0]
    order = np.argsort(-scores)
    of_each = int(share * len(codes))
    teach = tensors[f"out.svm.{case}.train_x"], tensors[f"out.svm.{case}.train_y"]
    judge = tensors[f"out.svm.{case}.val_x"], tensors[f"out.svm.{case}.val_y"]
    for label, ends in ((1, order[:of_each]), (0, order[-of_each:])):
        used = np.concatenate([x[y == label] for x, y in (teach, judge)])
        assert {row.tobytes() for row in used} == {row.tobytes() for row in codes[ends]}
    rest = order[of_each:-of_each]
    truth = scores[rest] > (scores.max() + scores.min()) / 2
    found = LinearBoundary(c=1.0, standardise=False, loss="hinge").fit(*teach)
    name = f"out.svm.{case}.remaining_accuracy"
    accuracy = float((found.predict(codes[rest]).astype(bool) == truth).mean())
    assert abs(accuracy - float(tensors[name][0])) <= facts["suggested_atol"][name]
