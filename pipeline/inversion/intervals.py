"""How far a mean or a correlation over photographs may be trusted: a bootstrap over blocks of neighbours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

DRAWS = 1000
_EDGES = (2.5, 97.5)


@dataclass(frozen=True)
class Estimate:
    """A number and its 95 % interval; None where it cannot be formed, such as the correlation of a constant."""

    value: float | None
    interval: tuple[float, float] | None


class Blocks:
    """Blocks of photographs, drawn again and again with replacement: neighbours show the same houses.

    Args:
        names: [n] the block of each photograph.
        seed: of the draws.
        draws: how many.
    """

    def __init__(self, names: Sequence[str], seed: int, draws: int = DRAWS) -> None:
        _, self._of = np.unique(names, return_inverse=True)
        self.count = int(self._of.max()) + 1
        shares = np.full(self.count, 1 / self.count)
        self._times = np.random.default_rng(seed).multinomial(self.count, shares, size=draws)

    def mean(self, values: np.ndarray) -> Estimate:
        """Return the mean of [n] numbers; with one block the interval has no width."""
        sums = self._sums(np.stack([np.ones(len(values)), values], 1))
        drawn = self._times @ sums
        return _estimate(float(values.mean()), drawn[:, 1] / drawn[:, 0])

    def correlation(self, x: np.ndarray, y: np.ndarray) -> Estimate:
        """Return Pearson's r between [n] and [n] numbers; nothing where either is constant.

        Draws in which one happens to be constant, as when few blocks are there, are left out.
        """
        x, y = x - x.mean(), y - y.mean()  # r stays, and its sums keep their digits
        sums = self._sums(np.stack([np.ones(len(x)), x, y, x * x, y * y, x * y], 1))
        value = _pearson(sums.sum(0)[None])[0]
        if not np.isfinite(value):
            return Estimate(None, None)
        drawn = _pearson(self._times @ sums)
        return _estimate(float(value), drawn[np.isfinite(drawn)])

    def _sums(self, columns: np.ndarray) -> np.ndarray:
        """Return the sums over each block: [blocks, columns]."""
        sums = np.zeros((self.count, columns.shape[1]))
        np.add.at(sums, self._of, columns.astype(np.float64))
        return sums


def _pearson(sums: np.ndarray) -> np.ndarray:
    """Return r of each row of sums (1, x, y, x², y², xy); not a number where one of both hardly varies."""
    n, x, y, xx, yy, xy = sums.T
    spread_x, spread_y = xx - x * x / n, yy - y * y / n
    flat = (spread_x <= 1e-12 * np.maximum(xx, 1e-300)) | (spread_y <= 1e-12 * np.maximum(yy, 1e-300))
    with np.errstate(invalid="ignore", divide="ignore"):
        r: np.ndarray = np.where(flat, np.nan, (xy - x * y / n) / np.sqrt(spread_x * spread_y))
    return r.clip(-1, 1)


def _estimate(value: float, drawn: np.ndarray) -> Estimate:
    """Return the value with its interval, widened to hold it where few blocks leave it outside."""
    if not len(drawn):
        return Estimate(value, (value, value))
    low, high = np.percentile(drawn, _EDGES)
    return Estimate(value, (float(min(low, value)), float(max(high, value))))
