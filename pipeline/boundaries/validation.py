"""Whether walks find what was planted: on the calibration street, whose photographs' attributes are known.

Every axis is walked on many bases, the planted attributes are measured in the rendered images, and the table "axis
walked → attribute moved" is set beside those of directions that ought to do worse (raw normals, labels shuffled over
areas, random directions) and of one that ought to do better (regressed on the attributes themselves).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from atlas.errors import InputError
from atlas.grid import AXES
from atlas.progress import Progress, silent
from pipeline.boundaries.directions import conditional_directions, partial_directions
from pipeline.boundaries.fitting import Fit, spans
from pipeline.boundaries.solver import balanced_weights, fit_machines
from pipeline.boundaries.store import layered
from pipeline.boundaries.walking import mean_interval, measure_walks
from pipeline.gan import Generator
from pipeline.photos.calibration.measuring import measure
from pipeline.photos.dataset import Dataset

KINDS = ("orthogonal", "partial", "raw", "shuffled", "random", "ideal")
BAR = 5.0
"""Each axis should move its own attribute this many times as much as either other."""

_ENDS = np.array([-1.0, 1.0])
_DRAWS = 20  # of shuffled labels and of random directions: one draw alone moves attributes, by chance
_BASES_A_DRAW = 8
_DIGITS = 4


@dataclass(frozen=True, eq=False)
class _Walk:
    """Directions [3, D] (unit) and how long the whole walk along each is, [3]."""

    vectors: np.ndarray
    lengths: np.ndarray


def planted_attributes(dataset: Dataset) -> dict[str, str]:
    """Return the planted attributes by axis, in the order of `AXES`.

    Raises:
        InputError: the dataset has none.
    """
    planted = dataset.meta.get("planted")
    if not isinstance(planted, Mapping) or sorted(planted.values()) != sorted(AXES):
        raise InputError(
            f"{dataset.path} has no planted attributes to compare with: validate on the calibration street, "
            "made with `atlas dataset calibration`"
        )
    by_axis = {str(axis): str(attribute) for attribute, axis in planted.items()}
    return {axis: by_axis[axis] for axis in AXES}


def validate(
    generator: Generator,
    fit: Fit,
    dataset: Dataset,
    bases: np.ndarray,
    seed: int,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Walk every kind of direction and measure the planted attributes.

    Args:
        generator: in eval mode.
        fit: the method's boundaries and the photographs behind them.
        dataset: with the planted attributes of every photograph.
        bases: [B, num_ws, w_dim].
        seed: of shuffling, random directions and intervals.
        progress: told of kinds.

    Returns:
        JSON-able: ``attributes`` in the order of the axes, ``bases``, and by kind of `KINDS` the ``table`` [3][3][3]:
        axis walked, attribute, (mean, low, high) of the change from the walk's minus to its plus end, in standard
        deviations of the photographs' own attribute, the interval being over bases (for "shuffled" and "random": where
        95 % of the draws lie); ``times``, per axis how many times as much the own
        attribute moves as the other that moves most; ``apart``, whether their intervals do not overlap (of absolute
        changes); ``reached``, whether both hold for all axes.

    Raises:
        InputError: see `planted_attributes`.
    """
    planted = planted_attributes(dataset)
    names = list(planted.values())
    every = np.array([[float(photo.attributes[name]) for name in names] for photo in dataset.photos])
    report: dict[str, Any] = {"attributes": names, "bases": len(bases), "draws": _DRAWS, "bar": BAR, "kinds": {}}

    def moved(walk: _Walk, some: np.ndarray) -> np.ndarray:
        """Return [B, walked, attribute] in standard deviations."""
        half_walks = layered(walk.vectors * (walk.lengths / 2)[:, None], *bases.shape[1:])
        found = measure_walks(generator, some, half_walks, _ENDS, measure)
        moves = np.stack([found[name][:, :, 1] - found[name][:, :, 0] for name in names], -1)
        return moves.swapaxes(0, 1) / every.std(0)

    fitted = _fitted(fit, every[fit.labelled.rows])
    for done, kind in enumerate(KINDS):
        if kind in fitted:
            table = np.moveaxis(mean_interval(moved(fitted[kind], bases), seed), 0, -1)
        else:
            table = _over_draws([moved(*_drawn(kind, fit, bases, seed, k)).mean(0) for k in range(_DRAWS)])
        report["kinds"][kind] = _judge(table)
        progress(done + 1, len(KINDS))
    return report


def _fitted(fit: Fit, truth: np.ndarray) -> dict[str, _Walk]:
    """Return the walks that do not hang on chance; ``truth`` [N, 3] are the photographs' attributes."""
    boundaries, codes = fit.boundaries, fit.labelled.codes
    partial = partial_directions(codes, fit.labelled.percentiles)
    return {
        "orthogonal": _conditional(boundaries.normals, codes),
        "partial": _own_length(partial, codes),
        "raw": _sized(boundaries.normals, boundaries.normals, codes),
        "ideal": _own_length(_regressed(codes, truth), codes),
    }


def _drawn(kind: str, fit: Fit, bases: np.ndarray, seed: int, number: int) -> tuple[_Walk, np.ndarray]:
    """Return draw ``number`` of a walk that hangs on chance, and the bases that it is tried on."""
    start = number * _BASES_A_DRAW
    some = bases[np.arange(start, start + min(_BASES_A_DRAW, len(bases))) % len(bases)]
    codes = fit.labelled.codes
    if kind == "shuffled":
        return _conditional(_shuffled_normals(fit, seed, number), codes), some
    rng = np.random.default_rng([seed, number, 7])
    # As likely to point anywhere as the codes are spread there.
    return _own_length(_unit(rng.standard_normal(fit.boundaries.normals.shape) * codes.std(0)), codes), some


def _over_draws(means: list[np.ndarray]) -> np.ndarray:
    """Return the mean over draws and the range of 95 % of them, [walked, attribute, 3]."""
    low, high = np.percentile(means, [2.5, 97.5], axis=0)
    return np.stack([np.mean(means, axis=0), low, high], -1)


def _conditional(normals: np.ndarray, codes: np.ndarray) -> _Walk:
    return _sized(conditional_directions(normals).vectors, normals, codes)


def _sized(vectors: np.ndarray, normals: np.ndarray, codes: np.ndarray) -> _Walk:
    """Make the whole walk move the axis's own score by the span of the photographs' scores."""
    return _Walk(vectors, spans(codes @ normals.T) / (vectors * normals).sum(1))


def _own_length(vectors: np.ndarray, codes: np.ndarray) -> _Walk:
    """Make the walk as long as the photographs are spread along it."""
    return _Walk(vectors, spans(codes @ vectors.T))


def _shuffled_normals(fit: Fit, seed: int, number: int) -> np.ndarray:
    """Fit every axis to classes that were dealt anew to whole areas."""
    normals = []
    for axis, each in enumerate(fit.axes):
        _, first, index = np.unique(each.case.areas, return_index=True, return_inverse=True)
        dealt = np.random.default_rng([seed, number, axis, 5]).permutation(each.case.labels[first])[index][:, None]
        weights = balanced_weights(dealt, np.ones_like(dealt))
        found = fit_machines(each.case.gram, dealt, weights, each.machine.c)
        normals.append(each.case.gram.hyperplanes(found.coefficients, found.biases)[0][0])
    return np.stack(normals)


def _regressed(codes: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Return unit directions [3, D] along which the codes move when one attribute does and the two others do not.

    Least squares of codes on all three attributes: what a photograph's code gains, on average, from one attribute.
    """
    design = np.column_stack([np.ones(len(truth)), (truth - truth.mean(0)) / truth.std(0)])
    return _unit(np.linalg.lstsq(design, codes, rcond=None)[0][1:])


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def _judge(table: np.ndarray) -> dict[str, Any]:
    """Judge a table [walked, attribute, (mean, low, high)] in standard deviations."""
    times, apart = [], []
    for axis in range(len(AXES)):
        size, least, most = (np.array(v) for v in zip(*(_size(cell) for cell in table[axis]), strict=True))
        others = np.delete(np.arange(len(AXES)), axis)
        times.append(float(size[axis] / max(size[others].max(), 1e-9)))
        apart.append(bool(least[axis] > most[others].max()))
    own = np.diagonal(table[..., 0])
    reached = all(t >= BAR for t in times) and all(apart) and bool((own > 0).all())
    return {
        "table": [[[round(float(v), _DIGITS) for v in cell] for cell in row] for row in table],
        "times": [round(min(t, 1e6), _DIGITS) for t in times],
        "apart": apart,
        "reached": reached,
    }


def _size(cell: np.ndarray) -> tuple[float, float, float]:
    """Return the absolute value of a change, and the least and greatest absolute value within its interval."""
    mean, low, high = (float(v) for v in cell)
    least = 0.0 if low <= 0 <= high else min(abs(low), abs(high))
    return abs(mean), least, max(abs(low), abs(high))
