"""Many linear SVMs on the same codes at once: squared hinge, Newton's method, conjugate gradients.

Every machine that the evidence needs (folds, values of C, permuted labels, bootstrap draws) sees the same codes and
differs only in labels and in the weight of each code, 0 for those it must not see. They are columns of one matrix, and
one product with the codes' Gram matrix moves all of them a step: a thousand machines in about the time of thirty.

Each column minimises ½‖u‖² + C Σ sᵢ max(0, 1 − yᵢ(xᵢ·u + b))², the intercept b unpenalised, in the coefficients β of
u = Σ βᵢ xᵢ (Chapelle, *Training a support vector machine in the primal*, 2007, for kernels). For the codes A whose
margin is violated, a Newton step solves (K_AA + Λ) β = y − b, Σ βᵢ = 0, Λ = 1 / (2 C s); scaled by γ = Λ^-½ that is
(1 + γKγ) z = γ(y − b), whose eigenvalues are at least 1, solved on the subspace where Σ γᵢ zᵢ = 0. The minimum is
reached where β = 2 C s y max(0, 1 − y f).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

_BATCH = 256  # columns at once: bounds the memory
_NEWTON_STEPS, _CG_STEPS, _HALVINGS = 40, 400, 12
_CRUDE = 0.03  # relative error of the first Newton steps, which go astray anyway
_STILL = 1e-12  # relative spread below which a dimension counts as constant


@dataclass(frozen=True, eq=False)
class Gram:
    """Codes in units of their own spread, and their products with each other.

    Attributes:
        rows: [n, D] centred and, if asked for, of standard deviation 1; a dimension that never changes is 0.
        mean, spread: [D] float64; a code's row is (code − mean) / spread, and spread is infinite where nothing changes.
        products: [n, n]; None where two thin products with the rows are cheaper than one with this.
    """

    rows: np.ndarray
    mean: np.ndarray
    spread: np.ndarray
    products: np.ndarray | None

    @classmethod
    def of(cls, codes: np.ndarray, standardise: bool = True, dtype: type = np.float32) -> Self:
        """Make it of codes [n, D], any float; ``dtype`` is what everything is computed in."""
        mean, spread = codes.mean(0, dtype=np.float64), np.ones(codes.shape[1])
        if standardise:
            spread = codes.std(0, dtype=np.float64)
            spread = np.where(spread > _STILL * (1 + np.abs(mean)), spread, np.inf)
        rows: np.ndarray = np.empty(codes.shape, dtype)
        for start in range(0, len(codes), 1024):
            rows[start : start + 1024] = (codes[start : start + 1024] - mean) / spread
        n, dim = codes.shape
        return cls(rows, mean, spread, rows @ rows.T if n <= 2 * dim else None)

    def __len__(self) -> int:
        return len(self.rows)

    def times(self, columns: np.ndarray) -> np.ndarray:
        """Return K @ ``columns`` [n, B]."""
        if self.products is not None:
            return self.products @ columns
        return self.rows @ (self.rows.T @ columns)

    def hyperplanes(self, coefficients: np.ndarray, biases: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return unit normals [B, D], intercepts [B] and scales [B] in the codes' own units.

        A code's signed distance is code · normal + intercept; times scale, it is the machine's decision value. Where a
        machine found nothing at all its normal is 0 and its scale 1.
        """
        raw = (self.rows.T @ coefficients).T.astype(np.float64) / self.spread
        scales = np.linalg.norm(raw, axis=1)
        scales = np.where(scales > 0, scales, 1.0)
        normals = raw / scales[:, None]
        return normals, (biases - raw @ self.mean) / scales, scales


@dataclass(frozen=True, eq=False)
class Machines:
    """Machines that were fitted together, one a column.

    Attributes:
        coefficients: [n, B], β.
        biases: [B], the intercept for centred rows.
        scores: [n, B] decision values of all codes, of those that a machine has not seen too.
    """

    coefficients: np.ndarray
    biases: np.ndarray
    scores: np.ndarray


def fit_machines(
    gram: Gram, labels: np.ndarray, weights: np.ndarray, c: np.ndarray | float, tolerance: float = 1e-3
) -> Machines:
    """Fit one machine a column.

    Args:
        gram: the codes.
        labels: [n, B] 0 or 1.
        weights: [n, B] ≥ 0; a code of weight 0 is not seen.
        c: C of each column, [B] or one for all.
        tolerance: how far the coefficients may be from what their own scores ask for, relative to these.
    """
    count = labels.shape[1]
    each = np.broadcast_to(np.asarray(c, np.float64), (count,))
    parts = [
        _fit_batch(gram, labels[:, some], weights[:, some], each[some], tolerance)
        for some in (slice(start, start + _BATCH) for start in range(0, count, _BATCH))
    ]
    return Machines(
        np.concatenate([p.coefficients for p in parts], 1),
        np.concatenate([p.biases for p in parts]),
        np.concatenate([p.scores for p in parts], 1),
    )


def balanced_weights(labels: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Return weights under which both classes count the same among the codes that are seen.

    Args:
        labels: [n, B] 0 or 1.
        seen: [n, B] ≥ 0, how often each code is seen.

    Returns:
        [n, B] float32; they sum to what ``seen`` sums to, where both classes occur.
    """
    ones = labels.astype(bool)
    total = seen.sum(0)
    of_one = np.where(ones, seen, 0).sum(0)
    half = total / 2
    factor = np.where(ones, half / np.maximum(of_one, 1e-12), half / np.maximum(total - of_one, 1e-12))
    both = (of_one > 0) & (of_one < total)
    return (seen * np.where(both, factor, 1)).astype(np.float32)


def _fit_batch(gram: Gram, labels: np.ndarray, weights: np.ndarray, c: np.ndarray, tolerance: float) -> Machines:
    dtype = gram.rows.dtype
    y = np.where(labels.astype(bool), 1, -1).astype(dtype)
    kappa = (2 * c * weights).astype(dtype)  # 1 / Λ
    beta, product = np.zeros_like(y), np.zeros_like(y)
    # A machine that sees one class only is that class everywhere; for any other this is merely where it starts.
    tiny = np.finfo(dtype).tiny
    bias = (kappa * y).sum(0) / np.maximum(kappa.sum(0), tiny)
    bias = np.where(np.abs(bias) > 1 - 1e-6, np.sign(bias), 0).astype(dtype)
    open_ = np.arange(y.shape[1])
    for _ in range(_NEWTON_STEPS):
        lack = np.maximum(0, 1 - y * (product + bias))
        wanted = kappa * y * lack
        off = np.linalg.norm(beta - wanted, axis=0) / np.maximum(np.linalg.norm(wanted, axis=0), tiny)
        open_ = np.flatnonzero(off > tolerance)
        if not len(open_):
            break
        some = _Problem(gram, y[:, open_], kappa[:, open_])
        error = np.clip(off[open_] / 10, tolerance / 10, _CRUDE)
        state = _newton_step(some, lack[:, open_], (beta[:, open_], product[:, open_], bias[open_]), error)
        beta[:, open_], product[:, open_], bias[open_] = state
    return Machines(beta, bias.astype(np.float64), product + bias)


_State = tuple[np.ndarray, np.ndarray, np.ndarray]  # β, Kβ, b


@dataclass(frozen=True, eq=False)
class _Problem:
    """The columns that are still open: labels ±1 and κ = 2 C s, [n, B] each."""

    gram: Gram
    y: np.ndarray
    kappa: np.ndarray


def _newton_step(some: _Problem, lack: np.ndarray, state: _State, error: np.ndarray) -> _State:
    """Solve for the codes whose margin lacks something, to a relative ``error`` [B], and go there."""
    gram, y = some.gram, some.y
    beta, _, bias = state
    tiny = np.finfo(y.dtype).tiny
    gamma = np.sqrt(some.kappa) * (lack > 0)
    length = np.linalg.norm(gamma, axis=0)
    q = gamma / np.maximum(length, tiny)
    start = np.where(gamma > 0, beta / np.where(gamma > 0, gamma, 1), 0)
    # At the solution z is γ y × what the margins lack, and the residual bounds the error of z.
    enough = error * np.linalg.norm(gamma * lack, axis=0)
    z = _conjugate_gradients(gram, gamma, q, gamma * y, start, enough)
    to_beta = gamma * z
    to_product = gram.times(to_beta)
    to_bias = (q * (gamma * (y - to_product) - z)).sum(0) / np.maximum(length, tiny)
    to_bias = np.where(length > 0, to_bias, bias).astype(bias.dtype)
    return _line_search(y, some.kappa, state, (to_beta, to_product, to_bias))


def _conjugate_gradients(
    gram: Gram, gamma: np.ndarray, q: np.ndarray, target: np.ndarray, start: np.ndarray, enough: np.ndarray
) -> np.ndarray:
    """Solve (1 + γKγ) z = ``target`` for z orthogonal to q, from ``start``, until the residual is ``enough`` [B]."""

    def project(v: np.ndarray) -> np.ndarray:
        return v - q * (q * v).sum(0)

    z = project(start)
    residual = project(target - z - gamma * gram.times(gamma * z))
    enough = np.maximum(enough, _floor(gamma) * np.linalg.norm(target, axis=0)) ** 2
    direction, square = residual, (residual * residual).sum(0)
    for _ in range(_CG_STEPS):
        if (square <= enough).all():
            break
        moved = project(direction + gamma * gram.times(gamma * direction))
        curvature = (direction * moved).sum(0)
        step = np.where(square > enough, square / np.maximum(curvature, np.finfo(z.dtype).tiny), 0)
        z = z + step * direction
        residual = residual - step * moved
        following = (residual * residual).sum(0)
        direction = residual + direction * (following / np.maximum(square, np.finfo(z.dtype).tiny))
        square = following
    return z


def _floor(values: np.ndarray) -> float:
    """Return the relative residual below which rounding is all that is left."""
    return 30 * float(np.finfo(values.dtype).eps)


def _line_search(y: np.ndarray, kappa: np.ndarray, start: _State, end: _State) -> _State:
    """Go from ``start`` towards ``end`` as far as the objective falls, halving the way of each column that rises."""

    def at(share: np.ndarray) -> _State:
        beta, product, bias = (a + share * (b - a) for a, b in zip(start, end, strict=True))
        return beta, product, bias

    def objective(state: _State) -> np.ndarray:
        beta, product, bias = state
        lack = np.maximum(0, 1 - y * (product + bias))
        value: np.ndarray = 0.5 * ((beta * product) + kappa * lack * lack).sum(0, dtype=np.float64)
        return value

    first = objective(start)
    bound = first + 1e-6 * np.abs(first)
    share = np.ones(y.shape[1], y.dtype)
    for _ in range(_HALVINGS):
        rises = objective(at(share)) > bound
        if not rises.any():
            break
        share = np.where(rises, share / 2, share).astype(y.dtype)
    return at(share)
