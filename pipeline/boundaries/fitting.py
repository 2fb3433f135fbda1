"""From latent codes to boundaries: three hyperplanes, the walks' directions, and how sure they are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from atlas.errors import InputError
from atlas.grid import AXES
from atlas.preset import BoundarySettings
from pipeline.boundaries.directions import (
    Directions,
    conditional_directions,
    cosines,
    partial_directions,
    project_boundary,
    surviving,
)
from pipeline.boundaries.evaluation import Case, Split, block_split, shared_c
from pipeline.boundaries.metrics import draw_blocks, interval
from pipeline.boundaries.sample import Labelled, Sample, balanced_sample
from pipeline.boundaries.solver import Gram, balanced_weights, fit_machines
from pipeline.boundaries.store import Boundaries
from pipeline.boundaries.svm import LinearBoundary
from pipeline.boundaries.units import percentile_curve

_SPAN = (5, 95)
_DRAWS = 100  # bootstrap draws of the directions: each refits every axis
_DIGITS = 6


@dataclass(frozen=True, eq=False)
class AxisFit:
    """One axis's boundary and what it was fitted to.

    Attributes:
        sample: the photographs.
        case: the same, as the protocols need them.
        split: the honest split.
        machine: fitted to all of the sample.
        seen_by_others: [N] signed distances of all photographs, each by a machine that has not seen its block; only
            their order and spread are of the kind that unseen pictures get.
    """

    sample: Sample
    case: Case
    split: Split
    machine: LinearBoundary
    seen_by_others: np.ndarray


@dataclass(frozen=True, eq=False)
class Fit:
    """The boundaries of one method.

    Attributes:
        boundaries: the hyperplanes and directions.
        axes: one per axis.
        labelled: all photographs.
    """

    boundaries: Boundaries
    axes: tuple[AxisFit, ...]
    labelled: Labelled


def case_of(labelled: Labelled, axis: int, settings: BoundarySettings, seed: int) -> tuple[Sample, Case]:
    """Take the balanced extremes of an axis.

    Raises:
        InputError: see `balanced_sample`.
    """
    sample = balanced_sample(labelled, axis, settings.fifth, settings.folds, seed)
    rows = sample.rows
    gram = Gram.of(labelled.codes[rows])
    return sample, Case(
        AXES[axis], gram, sample.labels, labelled.areas[rows], labelled.blocks[rows], labelled.places[rows]
    )


def _fit_axes(labelled: Labelled, settings: BoundarySettings, seed: int) -> tuple[AxisFit, ...]:
    """Fit the boundary of each axis, and one for each fold of the honest split."""
    samples, cases, splits = [], [], []
    for axis in range(len(AXES)):
        sample, case = case_of(labelled, axis, settings, seed)
        samples.append(sample)
        cases.append(case)
        splits.append(block_split(case, settings.folds, axis_seed(seed, axis)))
    fits = []
    for sample, case, split, c in zip(
        samples, cases, splits, shared_c(list(zip(cases, splits, strict=True)), settings), strict=True
    ):
        machine = LinearBoundary(c=c).fit(labelled.codes[sample.rows], sample.labels)
        fits.append(AxisFit(sample, case, split, machine, _seen_by_others(labelled, sample, case, split, c)))
    return tuple(fits)


def fit_boundaries(
    labelled: Labelled, settings: BoundarySettings, seed: int, method: str, shape: tuple[int, int]
) -> Fit:
    """Fit every axis and make the walks' directions.

    Args:
        labelled: codes of photographs.
        settings: the share in each class, C, folds, which directions.
        seed: of balancing and folds.
        method: how the codes were found.
        shape: (num_ws, w_dim) of the generator.

    Raises:
        InputError: see `balanced_sample`, `block_split` and `conditional_directions`.
    """
    axes = _fit_axes(labelled, settings, seed)
    normals = np.stack([a.machine.normal_ for a in axes])
    scores = labelled.distances(normals, np.array([a.machine.intercept_ for a in axes]))
    directions = walk_directions(normals, labelled, settings)
    boundaries = Boundaries(
        method=method,
        space=labelled.space,
        num_ws=shape[0],
        w_dim=shape[1],
        normals=normals,
        intercepts=np.array([a.machine.intercept_ for a in axes]),
        scales=np.array([a.machine.scale_ for a in axes]),
        directions=directions.vectors,
        retained=directions.retained,
        score_span=spans(scores),
        place_span=spans(labelled.distances(directions.vectors, np.zeros(len(AXES)))),
        kind=settings.directions,
    )
    return Fit(boundaries, axes, labelled)


def spans(values: np.ndarray) -> np.ndarray:
    """Return the 95th minus the 5th percentile of each column of [N, K]."""
    low, high = np.percentile(values, _SPAN, axis=0)
    return np.asarray(high - low)


def walk_directions(normals: np.ndarray, labelled: Labelled, settings: BoundarySettings) -> Directions:
    """Make the directions that the settings ask for.

    Raises:
        InputError: an axis cannot be walked without moving another, or a partial direction lowers its own score.
    """
    found = directions_of(normals, labelled, settings.directions)
    if (found.retained <= 0).any():
        raise InputError(
            f"the partial direction of {AXES[int(np.argmin(found.retained))]} would lower its own score: these "
            'photographs do not tell the axes apart; use directions = "orthogonal"'
        )
    return found


def directions_of(normals: np.ndarray, labelled: Labelled, kind: str) -> Directions:
    """Make directions of one kind, "orthogonal" or "partial"; what is retained of a partial one may be negative."""
    if kind == "orthogonal":
        return conditional_directions(normals)
    vectors = partial_directions(labelled.codes, labelled.percentiles)
    return Directions(vectors, (vectors * normals).sum(1))


def axis_seed(seed: int, axis: int) -> int:
    """Return a seed for one axis, so that axes do not share their folds' order."""
    return int(np.random.SeedSequence([seed, axis, 1]).generate_state(1)[0])


def percentile_curves(fit: Fit, seed: int) -> dict[str, Any]:
    """Return per axis what a score says of the percentile of deprivation, along a walk from the median photograph."""
    curves = {}
    for axis, (name, each) in enumerate(zip(AXES, fit.axes, strict=True)):
        middle = float(np.median(each.seen_by_others))
        curves[name] = percentile_curve(
            each.seen_by_others,
            fit.labelled.percentiles[:, axis],
            fit.labelled.blocks,
            middle,
            float(fit.boundaries.walk_score[axis]),
            axis_seed(seed, axis),
        )
    return curves


def direction_spread(fit: Fit, seed: int) -> dict[str, Any]:
    """Refit every axis to blocks drawn anew, and say how far normals and walked directions turn.

    Returns:
        JSON-able, over the draws: ``angle`` between each axis's drawn and own normal in degrees (its median and 97.5th
        percentile), ``walk_angle``, the same of the directions that are walked; and the 95 % intervals of ``cosines``
        between every two normals [3, 3, 2], of what ``survives`` of each and of what each direction ``retained`` of its
        normal [3, 2].
    """
    labelled, normals = fit.labelled, fit.boundaries.normals
    times = draw_blocks(int(labelled.blocks.max()) + 1, _DRAWS, seed)
    drawn = np.stack([_drawn_normals(each, labelled, times) for each in fit.axes])  # [3, draws, D]
    walked = _drawn_directions(fit, drawn.swapaxes(0, 1), times)
    pairs = np.stack([cosines(drawn[:, b]) for b in range(_DRAWS)])
    kept = np.stack([surviving(n) for n in drawn.swapaxes(0, 1)])
    own, left = cosines(normals), surviving(normals)
    return {
        "draws": _DRAWS,
        "angle": _turns(drawn, normals),
        "walk_angle": _turns(walked, fit.boundaries.directions),
        "cosines": [[_ends(pairs[:, i, j], own[i, j]) for j in range(3)] for i in range(3)],
        "survives": [_ends(kept[:, i], left[i]) for i in range(3)],
        "retained": [_ends((walked[i] * drawn[i]).sum(1), fit.boundaries.retained[i]) for i in range(3)],
    }


def _drawn_directions(fit: Fit, normals: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Return the walks' directions [3, draws, D] of each draw of blocks, whose normals are [draws, 3, D]."""
    if fit.boundaries.kind == "partial":
        labelled = fit.labelled
        found = partial_directions(labelled.codes, labelled.percentiles, times[:, labelled.blocks])
    else:
        found = np.stack([[project_boundary(n[i], np.delete(n, i, 0)) for i in range(len(n))] for n in normals])
    return found.swapaxes(0, 1)


def _turns(drawn: np.ndarray, own: np.ndarray) -> list[list[float]]:
    """Return by how many degrees vectors [3, draws, D] typically and at most turn from their own [3, D]."""
    along = np.einsum("abd,ad->ab", drawn, own).clip(-1, 1)
    return [[_plain(v) for v in np.percentile(a, [50, 97.5])] for a in np.degrees(np.arccos(along))]


def _drawn_normals(each: AxisFit, labelled: Labelled, times: np.ndarray) -> np.ndarray:
    seen = times[:, labelled.blocks[each.sample.rows]].T
    labels = np.broadcast_to(each.case.labels[:, None], seen.shape)
    found = fit_machines(each.case.gram, labels, balanced_weights(labels, seen), each.machine.c)
    return each.case.gram.hyperplanes(found.coefficients, found.biases)[0]


def _seen_by_others(labelled: Labelled, sample: Sample, case: Case, split: Split, c: float) -> np.ndarray:
    """Score every photograph by the machine of its block's fold, or of one dealt to it if its block has none."""
    labels = np.broadcast_to(case.labels[:, None], split.train.shape)
    found = fit_machines(case.gram, labels, balanced_weights(labels, split.train), c)
    normals, intercepts, _ = case.gram.hyperplanes(found.coefficients, found.biases)
    fold_of_block = np.arange(int(labelled.blocks.max()) + 1) % split.folds
    fold_of_block[labelled.blocks[sample.rows]] = split.fold_of
    every = labelled.distances(normals, intercepts)
    scores: np.ndarray = every[np.arange(len(every)), fold_of_block[labelled.blocks]]
    return scores


def _ends(values: np.ndarray, estimate: float) -> list[float]:
    return [_plain(v) for v in interval(values, float(estimate))]


def _plain(value: float) -> float:
    return round(float(value), _DIGITS)
