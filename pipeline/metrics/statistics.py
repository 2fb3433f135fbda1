"""Distances between two sets of feature vectors. Pure numbers: no images, no networks, chance only from a seed.

Letters: N, M samples; F features. Sets are [N, F] and [M, F] of any float type; sums are made in float64. Where all
pairs of samples are compared, they are compared a strip at a time, so that memory grows with N and not with N·M.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy import stats

STRIP = 512  # rows that are compared with all others at once
LEVEL = 0.95  # of intervals
LEAST_BLOCKS, BLOCK = 10, 1000  # of the kernel distance: blocks there are at least, samples in one at most


@dataclass(frozen=True)
class Interval:
    """An estimate with the interval that covers the true value in `LEVEL` of cases.

    Attributes:
        value: the estimate.
        low, high: ends of the interval.
        blocks, size: how many disjoint blocks of how many samples it was made from.
    """

    value: float
    low: float
    high: float
    blocks: int
    size: int


def frechet_distance(a: np.ndarray, b: np.ndarray) -> float:
    """Return the Fréchet distance of two normal distributions with the sets' means and covariances (divided by N).

    |μ − ν|² + tr(Σ + Τ − 2 (Σ Τ)^½), Heusel et al. 2017, eq. 6. With few samples it is biased upwards: compare only
    values made from the same numbers of samples.
    """
    mean_a, cov_a = _moments(a)
    mean_b, cov_b = _moments(b)
    # (Σ Τ)^½ has the trace of (Σ^½ Τ Σ^½)^½, which is symmetric: its eigenvalues are real and found reliably.
    values, vectors = np.linalg.eigh(cov_a)
    root = (vectors * np.sqrt(values.clip(0))) @ vectors.T
    mixed = np.linalg.eigvalsh(root @ cov_b @ root)
    distance = np.square(mean_a - mean_b).sum() + np.trace(cov_a) + np.trace(cov_b) - 2 * np.sqrt(mixed.clip(0)).sum()
    return max(float(distance), 0.0)  # of equal sets rounding may leave a little less than nothing


def _moments(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    x = x.astype(np.float64)
    return x.mean(0), np.atleast_2d(np.cov(x, rowvar=False, bias=True))


def kernel_distance(a: np.ndarray, b: np.ndarray, seed: int) -> Interval:
    """Return the squared maximum mean discrepancy with the kernel (x·y / F + 1)³: Bińkowski et al. 2018, eq. 4.

    Each set is shuffled and cut into as many disjoint blocks; the unbiased estimates of the pairs of blocks are
    independent of each other, so that their mean has a t interval. It may be negative: it is 0 on average for sets of
    one distribution, of whatever size.

    Args:
        a, b: [N, F] and [M, F], 20 samples or more in each.
        seed: of the shuffles.

    Raises:
        ValueError: a set is too small.
    """
    least = min(len(a), len(b))
    size = min(BLOCK, least // LEAST_BLOCKS)
    if size < 2:
        raise ValueError(f"a kernel distance needs {2 * LEAST_BLOCKS} samples of each kind, got {least}")
    rng = np.random.default_rng(seed)
    order_a, order_b = rng.permutation(len(a)), rng.permutation(len(b))
    blocks = least // size
    values = np.array(
        [
            _discrepancy(a[order_a[i * size : (i + 1) * size]], b[order_b[i * size : (i + 1) * size]])
            for i in range(blocks)
        ]
    )
    mean, half = values.mean(), stats.t.ppf((1 + LEVEL) / 2, blocks - 1) * values.std(ddof=1) / np.sqrt(blocks)
    return Interval(float(mean), float(mean - half), float(mean + half), blocks, size)


def _discrepancy(x: np.ndarray, y: np.ndarray) -> float:
    x, y = x.astype(np.float64), y.astype(np.float64)
    n, features = x.shape
    within = sum(
        ((z @ z.T / features + 1) ** 3).sum() - ((np.square(z).sum(1) / features + 1) ** 3).sum() for z in (x, y)
    )
    return float(within / (n * (n - 1)) - 2 * ((x @ y.T / features + 1) ** 3).mean())


def precision_recall(real: np.ndarray, fake: np.ndarray, k: int = 3) -> tuple[float, float]:
    """Return the share of fakes that lie among the real ones, and of real ones that lie among the fakes.

    A set's manifold is the union of balls around its samples, each reaching to the sample's k-th nearest neighbour in
    the set (Kynkäänniemi et al. 2019, eq. 1 and 2).

    Raises:
        ValueError: a set has no more than ``k`` samples.
    """
    if min(len(real), len(fake)) <= k:
        raise ValueError(f"precision and recall need more than {k} samples of each kind")
    return _covered(fake, real, k), _covered(real, fake, k)


def _covered(queries: np.ndarray, samples: np.ndarray, k: int) -> float:
    """Return the share of queries inside the manifold of the samples."""
    radii = np.concatenate([np.partition(strip, k, axis=1)[:, k] for strip in squared_distances(samples, samples)])
    inside = [(strip <= radii).any(1) for strip in squared_distances(queries, samples)]
    return float(np.concatenate(inside).mean())


def nearest(queries: np.ndarray, samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return for each query the index of the nearest sample, [N] int64, and its distance, [N] float64."""
    indices, distances = [], []
    for strip in squared_distances(queries, samples):
        found = strip.argmin(1)
        indices.append(found)
        distances.append(np.sqrt(strip[np.arange(len(found)), found]))
    return np.concatenate(indices), np.concatenate(distances)


def squared_distances(a: np.ndarray, b: np.ndarray) -> Iterator[np.ndarray]:
    """Yield the squared distances of `STRIP` rows of ``a`` at a time to all rows of ``b``: [rows, M] float64, ≥ 0.

    Distances within a set are exactly 0 between a row and itself.
    """
    same = a is b
    b = b.astype(np.float64)
    lengths = np.square(b).sum(1)
    for start in range(0, len(a), STRIP):
        rows = a[start : start + STRIP].astype(np.float64)
        strip = (np.square(rows).sum(1)[:, None] + lengths - 2 * rows @ b.T).clip(0)
        if same:
            strip[np.arange(len(rows)), start + np.arange(len(rows))] = 0
        yield strip
