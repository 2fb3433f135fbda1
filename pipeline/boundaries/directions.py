"""Walking along one axis without touching the others: conditional directions (InterFaceGAN, Shen et al. 2020, §3.3).

A direction is what is left of an axis's normal once its part in the span of the other normals is taken out. The whole
span at once: taking the others out one after the other leaves something of the first where they are not orthogonal.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from atlas.errors import InputError
from atlas.grid import AXES

_NOTHING = 1e-6


@dataclass(frozen=True)
class Directions:
    """The walks' directions.

    Attributes:
        vectors: [3, D] unit vectors.
        retained: [3], the cosine between each direction and its axis's normal; of a conditional direction also the
            length of what was left of the unit normal.
    """

    vectors: np.ndarray
    retained: np.ndarray


def residual(primal: np.ndarray, conditions: np.ndarray) -> np.ndarray:
    """Return the part of ``primal`` [D] that is orthogonal to all ``conditions`` [K, D]; K may be 0."""
    if not len(conditions):
        return primal.copy()
    weights, *_ = np.linalg.lstsq(conditions @ conditions.T, conditions @ primal, rcond=None)
    rest = primal - weights @ conditions
    # Once more: where little is left, rounding in the first round is a noticeable part of it.
    weights, *_ = np.linalg.lstsq(conditions @ conditions.T, conditions @ rest, rcond=None)
    return rest - weights @ conditions


def project_boundary(primal: np.ndarray, conditions: np.ndarray) -> np.ndarray:
    """Return ``primal`` [D] made orthogonal to all ``conditions`` [K, D], as a unit vector."""
    rest = residual(primal, conditions)
    return rest / np.linalg.norm(rest)


def conditional_directions(normals: np.ndarray) -> Directions:
    """Return the direction of each axis.

    Args:
        normals: [3, D] unit normals in the order of `AXES`.

    Raises:
        InputError: an axis's normal lies in the span of the other two, so that nothing is left to walk along.
    """
    rests = np.stack([residual(normals[i], np.delete(normals, i, axis=0)) for i in range(len(normals))])
    retained = np.linalg.norm(rests, axis=1)
    for axis, left in zip(AXES, retained, strict=True):
        if left < _NOTHING:
            raise InputError(
                f"the boundary of {axis} cannot be told from those of the other axes: nothing of its normal is left "
                "once theirs are taken out; the photographs' labels must differ between the axes"
            )
    return Directions(rests / retained[:, None], retained)


def cosines(normals: np.ndarray) -> np.ndarray:
    """Return the cosine between every two unit normals, [3, 3]."""
    return normals @ normals.T


def partial_scores(scores: np.ndarray, percentiles: np.ndarray) -> np.ndarray:
    """Return how the three scores change, on average, where one percentile changes and the two others do not.

    Args:
        scores: [N, 3] of photographs, by machines that have not seen them.
        percentiles: [N, 3].

    Returns:
        [3, 3], row: which percentile changes; column: which score answers. Least squares on all three percentiles.
    """
    design = np.column_stack([np.ones(len(percentiles)), percentiles])
    return np.linalg.lstsq(design, scores, rcond=None)[0][1:]


def partial_directions(normals: np.ndarray, changes: np.ndarray) -> np.ndarray:
    """Return directions that move the scores as a change of one percentile alone moves them.

    Boundaries of correlated dimensions lean on each other's signs: where income shows in the doors, the health
    boundary looks at doors too. Along a conditional direction the other scores are held, and so the doors must change
    the other way; along this one they are let change by as much as they do among photographs of the same income.

    Args:
        normals: [3, D] unit normals.
        changes: [3, 3] of `partial_scores`.

    Returns:
        [3, D] unit vectors in the normals' span.
    """
    rests = np.stack([residual(normals[i], np.delete(normals, i, axis=0)) for i in range(len(normals))])
    dual = rests / (rests * normals).sum(1)[:, None]  # moves its own score by 1 and no other
    vectors = changes @ dual
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
