"""Walking along one axis without touching the others: conditional directions (InterFaceGAN, Shen et al. 2020, §3.3).

A direction is what is left of an axis's normal once its part in the span of the other normals is taken out. The whole
span at once: taking the others out one after the other leaves something of the first where they are not orthogonal.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri

from atlas.errors import InputError
from atlas.grid import AXES

_NOTHING = 1e-6
_OUTERMOST = 3.0  # of normal scores: about that of the first of a thousand areas
_ROWS = 1024


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


def surviving(normals: np.ndarray) -> np.ndarray:
    """Return the length of what is left of each unit normal once the span of the others is taken out, [3]."""
    return np.array([np.linalg.norm(residual(normals[i], np.delete(normals, i, 0))) for i in range(len(normals))])


def project_boundary(primal: np.ndarray, conditions: np.ndarray) -> np.ndarray:
    """Return ``primal`` [D] made orthogonal to all ``conditions`` [K, D], as a unit vector; zeros if none is left."""
    rest = residual(primal, conditions)
    length = np.linalg.norm(rest)
    return rest / length if length > _NOTHING * np.linalg.norm(primal) else np.zeros_like(rest)


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


def normal_scores(percentiles: np.ndarray) -> np.ndarray:
    """Return the quantiles of the standard normal distribution at ``percentiles`` (0 … 1), within ±3."""
    return np.clip(ndtri(percentiles), -_OUTERMOST, _OUTERMOST)


def partial_directions(codes: np.ndarray, percentiles: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """Return how codes change, on average, where one percentile changes and the two others do not.

    Boundaries of correlated dimensions lean on each other's signs: where income shows in the doors, the health
    boundary looks at doors too. Along a conditional direction the other scores are held, and so the doors must change
    the other way. Least squares of the codes on all three percentiles has no such debt: it is the pattern that goes
    with one dimension and not the filter that detects it (Haufe et al. 2014). On their normal scores, because on
    regressors that are jointly normal least squares finds what belongs to each even where it does not grow in a
    straight line (Brillinger 1982); on the percentiles themselves what bends with one shows up as another's.

    Args:
        codes: [N, D] of photographs, of whatever percentiles.
        percentiles: [N, 3].
        weights: [B, N], how much each photograph counts, for B answers at once; None: each once.

    Returns:
        [3, D] unit vectors, or [B, 3, D]. 0 where a percentile never changes.
    """
    scores = normal_scores(percentiles)
    wide = (np.ones(len(codes)) if weights is None else np.asarray(weights, np.float64)).reshape(-1, len(codes))
    means = wide @ scores / wide.sum(1, keepdims=True)
    off = scores - means[:, None]  # [B, N, 3]
    weighted = (wide[..., None] * off).swapaxes(1, 2)  # [B, 3, N]
    together = np.zeros((3 * len(wide), codes.shape[1]))
    for start in range(0, len(codes), _ROWS):  # all of W+ in double precision would be a gigabyte
        rows = slice(start, start + _ROWS)
        together += weighted[..., rows].reshape(len(together), -1) @ codes[rows].astype(np.float64)
    changes = np.linalg.pinv(weighted @ off, hermitian=True) @ together.reshape(len(wide), 3, -1)
    lengths = np.linalg.norm(changes, axis=-1, keepdims=True)
    vectors: np.ndarray = changes / np.where(lengths > 0, lengths, 1)
    return vectors[0] if weights is None else vectors
