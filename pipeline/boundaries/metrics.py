"""Precision, recall, F1 and AUC of out-of-fold predictions, and their intervals by resampling blocks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import rankdata

METRICS = ("precision", "recall", "f1", "auc")
_DRAWS_AT_ONCE = 100


@dataclass(frozen=True, eq=False)
class Predictions:
    """Out-of-fold predictions; the positive class is the least deprived.

    Attributes:
        labels: [n] 0 or 1.
        scores: [n] decision value of a machine that has not seen the photograph's fold; above 0 it says 1.
        fold_of: [n] fold of each photograph. Scores of different folds come from different machines, so the AUC
            compares photographs of the same fold only.
    """

    labels: np.ndarray
    scores: np.ndarray
    fold_of: np.ndarray


def hit_counts(labels: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Return for each photograph whether it is a true positive, a false positive, a false negative: [n, 3] 0 or 1."""
    actual, predicted = labels.astype(bool), predicted.astype(bool)
    return np.stack([actual & predicted, ~actual & predicted, actual & ~predicted], 1).astype(np.int64)


def rates(hits: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return precision, recall and F1 of counts [..., 3]; 0 where there is nothing to divide by."""
    true, false, missed = hits[..., 0], hits[..., 1], hits[..., 2]
    parts = ((true, true + false), (true, true + missed), (2 * true, 2 * true + false + missed))
    precision, recall, f1 = (a / np.maximum(b, 1) for a, b in parts)
    return precision, recall, f1


def auc(labels: np.ndarray, scores: np.ndarray, fold_of: np.ndarray) -> np.ndarray:
    """Return the AUC of many columns of scores: of all pairs of one fold, the share in the right order.

    Args:
        labels: [n] or [n, B] 0 or 1.
        scores: [n, B].
        fold_of: [n].

    Returns:
        [B]; ties count half; 0.5 where no fold has both classes.
    """
    ones = np.broadcast_to(labels.reshape(len(labels), -1), scores.shape).astype(bool)
    right, pairs = np.zeros(scores.shape[1]), np.zeros(scores.shape[1])
    for fold in np.unique(fold_of):
        rows = fold_of == fold
        positive = ones[rows].sum(0)
        negative = rows.sum() - positive
        ranks = np.where(ones[rows], rankdata(scores[rows], axis=0), 0).sum(0)
        right += ranks - positive * (positive + 1) / 2
        pairs += positive * negative
    return np.where(pairs > 0, right / np.maximum(pairs, 1), 0.5)


def estimates(predictions: Predictions) -> dict[str, float]:
    """Return the four metrics."""
    precision, recall, f1 = rates(hit_counts(predictions.labels, predictions.scores > 0).sum(0))
    area = auc(predictions.labels, predictions.scores[:, None], predictions.fold_of)[0]
    return dict(zip(METRICS, (float(v) for v in (precision, recall, f1, area)), strict=True))


def draw_blocks(blocks: int, draws: int, seed: int) -> np.ndarray:
    """Return how often each block comes in each bootstrap draw, [draws, blocks]."""
    return np.random.default_rng(seed).multinomial(blocks, np.full(blocks, 1 / blocks), size=draws)


def bootstrap(predictions: Predictions, blocks: np.ndarray, times: np.ndarray) -> dict[str, np.ndarray]:
    """Return the four metrics in each draw of blocks, photographs of one block being anything but independent.

    Args:
        predictions: of n photographs.
        blocks: [n] block of each, 0 … blocks − 1.
        times: [draws, blocks] of `draw_blocks`.

    Returns:
        By metric, [draws].
    """
    by_block = np.zeros((times.shape[1], 3), np.int64)
    np.add.at(by_block, blocks, hit_counts(predictions.labels, predictions.scores > 0))
    precision, recall, f1 = rates(times @ by_block)
    areas = [
        _weighted_auc(predictions, times[start : start + _DRAWS_AT_ONCE][:, blocks])
        for start in range(0, len(times), _DRAWS_AT_ONCE)
    ]
    return dict(zip(METRICS, (precision, recall, f1, np.concatenate(areas)), strict=True))


def interval(draws: np.ndarray, estimate: float) -> tuple[float, float]:
    """Return the 2.5th and 97.5th percentile of draws, widened to hold the estimate where few blocks leave it out."""
    low, high = np.percentile(draws, [2.5, 97.5])
    return float(min(low, estimate)), float(max(high, estimate))


def _weighted_auc(predictions: Predictions, weights: np.ndarray) -> np.ndarray:
    """Return the AUC [draws] where photographs count ``weights`` [draws, n] times."""
    right, pairs = np.zeros(len(weights)), np.zeros(len(weights))
    for fold in np.unique(predictions.fold_of):
        rows = np.flatnonzero(predictions.fold_of == fold)
        rows = rows[np.argsort(predictions.scores[rows], kind="stable")]
        scores, ones = predictions.scores[rows], predictions.labels[rows].astype(bool)
        some = weights[:, rows].astype(np.float64)
        below = np.concatenate([np.zeros((len(some), 1)), np.cumsum(np.where(ones, 0, some), 1)], 1)
        left, till = np.searchsorted(scores, scores, "left"), np.searchsorted(scores, scores, "right")
        right += (np.where(ones, some, 0) * (below[:, left] + below[:, till])).sum(1) / 2
        pairs += np.where(ones, some, 0).sum(1) * below[:, -1]
    return np.where(pairs > 0, right / np.maximum(pairs, 1), 0.5)
