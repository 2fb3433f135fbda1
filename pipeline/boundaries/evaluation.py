"""How well a boundary tells areas apart that it has not seen: folds by area, metrics, an interval by bootstrap."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from sklearn.base import clone
from sklearn.metrics import roc_auc_score

from atlas.errors import InputError
from pipeline.boundaries.svm import LinearBoundary

DRAWS = 1000


@dataclass(frozen=True)
class Evaluation:
    """Metrics of out-of-fold predictions; the positive class is the least deprived.

    Attributes:
        precision, recall, f1, auc: 0 … 1.
        f1_interval: 95 %, by bootstrap over areas.
        n: photographs predicted, each by a boundary that has seen none of its area.
        n_train: photographs a boundary was fitted to, on average over the folds.
        areas: how many areas these photographs are of.
        folds: how many boundaries were fitted.
    """

    precision: float
    recall: float
    f1: float
    auc: float
    f1_interval: tuple[float, float]
    n: int
    n_train: int
    areas: int
    folds: int


def area_folds(areas: np.ndarray, labels: np.ndarray, folds: int, seed: int) -> np.ndarray:
    """Deal whole areas into folds so that each fold has about its share of both classes.

    Areas are dealt from the largest to the smallest, equals in an order drawn by ``seed``, each to the fold where the
    classes then lie most even.

    Args:
        areas: [n] area of each photograph.
        labels: [n] 0 or 1.
        folds: at most the number of areas.
        seed: of the order.

    Returns:
        [n] the fold of each photograph, 0 … folds − 1; every fold has at least one area.
    """
    _, index = np.unique(areas, return_inverse=True)
    counts = np.zeros((index.max() + 1, 2))
    np.add.at(counts, (index, labels), 1)
    shares = counts / np.maximum(counts.sum(0), 1)
    drawn = np.random.default_rng(seed).permutation(len(counts))
    order = drawn[np.argsort(-counts[drawn].sum(1), kind="stable")]
    filled = np.zeros((folds, 2))
    fold_of = np.empty(len(counts), int)
    for place, area in enumerate(order):
        # A fold costs as much as it already has of these classes; empty ones come first when few areas are left.
        cost = (filled * shares[area]).sum(1)
        empty = ~filled.any(1)
        if empty.any() and len(order) - place <= empty.sum():
            cost[~empty] = np.inf
        fold_of[area] = int(np.argmin(cost))
        filled[fold_of[area]] += shares[area]
    return fold_of[index]


def out_of_fold(machine: LinearBoundary, codes: np.ndarray, labels: np.ndarray, fold_of: np.ndarray) -> np.ndarray:
    """Return each code's signed distance [n] to the boundary fitted without its fold.

    Raises:
        InputError: one fold has all of a class.
    """
    scores = np.empty(len(codes))
    for fold in np.unique(fold_of):
        test = fold_of == fold
        if len(np.unique(labels[~test])) < 2:
            raise InputError(
                "all areas of one class fell into one fold: lower --folds or add photographs of more areas"
            )
        scores[test] = clone(machine).fit(codes[~test], labels[~test]).decision_function(codes[test])
    return scores


def evaluate(
    machine: LinearBoundary, codes: np.ndarray, labels: np.ndarray, areas: np.ndarray, folds: int, seed: int
) -> Evaluation:
    """Cross-validate by area.

    Args:
        machine: its parameters are used, not its fit.
        codes: [n, D].
        labels: [n] 0 the most deprived, 1 the least; both occur.
        areas: [n] area of each photograph; each class has at least two.
        folds: at most the number of areas.
        seed: of the folds and the bootstrap.
    """
    fold_of = area_folds(areas, labels, folds, seed)
    scores = out_of_fold(machine, codes, labels, fold_of)
    predicted = scores > 0
    hits = hit_counts(labels, predicted)
    precision, recall, f1 = (float(v) for v in rates(hits.sum(0)))
    return Evaluation(
        precision=precision,
        recall=recall,
        f1=f1,
        auc=float(roc_auc_score(labels, scores)),
        f1_interval=f1_interval(hits, areas, seed),
        n=len(labels),
        n_train=round(len(labels) * (folds - 1) / folds),
        areas=len(np.unique(areas)),
        folds=folds,
    )


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


def f1_interval(hits: np.ndarray, areas: np.ndarray, seed: int, draws: int = DRAWS) -> tuple[float, float]:
    """Return a 95 % interval of F1 from resampling areas, photographs of one area being anything but independent.

    Args:
        hits: [n, 3] of `hit_counts`.
        areas: [n].
        seed: of the draws.
        draws: how many resamples.

    Returns:
        The 2.5th and 97.5th percentile of the draws, widened to hold F1 itself where few areas leave it outside.
    """
    _, index = np.unique(areas, return_inverse=True)
    by_area = np.zeros((index.max() + 1, 3), np.int64)
    np.add.at(by_area, index, hits)
    count = len(by_area)
    times = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), size=draws)
    *_, drawn = rates(times @ by_area)
    *_, f1 = rates(by_area.sum(0))
    low, high = np.percentile(drawn, [2.5, 97.5])
    return float(min(low, f1)), float(max(high, f1))
