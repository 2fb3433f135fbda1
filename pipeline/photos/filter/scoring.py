"""The paper's selection: a logistic regression on features of a pretrained network, learnt from labels by hand.

The paper used VGG-16; its stand-in here is EfficientNet-Lite0, whose weights come as a package (`pipeline.features`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from atlas.errors import InputError
from pipeline.features import EfficientNetLite0

FEATURE_SIDE = 224
FOLDS, _FEWEST = 5, 10
_STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1)
_Z = 1.959964


@dataclass(frozen=True)
class Selection:
    """A classifier of usable photographs, and how well it does on photographs it has not seen.

    Attributes:
        scores: [N] float64, the probability that a photograph is usable.
        labelled: how many labels it was learnt from.
        usable: how many of those were usable.
        folds: of the cross-validation.
        by_block: whether a 1 km block is never on both sides of a split.
        strength: C of the regression, chosen by cross-validated log loss.
        precision: of those kept at the threshold, the share that is usable, out of fold.
        recall: of the usable ones, the share that is kept, out of fold.
        precision_interval: Wilson's, 95 %.
        recall_interval: Wilson's, 95 %.
        threshold: a score from which a photograph is kept.
    """

    scores: np.ndarray
    labelled: int
    usable: int
    folds: int
    by_block: bool
    strength: float
    precision: float
    recall: float
    precision_interval: tuple[float, float]
    recall_interval: tuple[float, float]
    threshold: float


def pooled_features(net: EfficientNetLite0, images: np.ndarray) -> np.ndarray:
    """Return the pooled features [N, 1280] float32 of images [N, 224, 224, 3] uint8."""
    with torch.no_grad():
        # A view of images as they lie in memory is "channels last": measured 30 % faster than copied to channels first.
        pixels = torch.from_numpy(images).permute(0, 3, 1, 2).to(next(net.parameters()).device).float() / 127.5 - 1
        features: np.ndarray = net.pooled(pixels).cpu().numpy()
    return features


def select(
    features: np.ndarray, labels: dict[int, bool], blocks: list[str], *, threshold: float, seed: int
) -> Selection:
    """Learn from labelled photographs and score all.

    Args:
        features: [N, F].
        labels: for some indices whether the photograph is usable; at least 10 each way.
        blocks: [N] the spatial block of each; neighbours look alike, so a block stays on one side of a split where
            there are blocks enough.
        threshold: 0 … 1.
        seed: of the splits.

    Raises:
        InputError: too few labels of one kind.
    """
    index = np.array(sorted(labels), np.int64)
    y = np.array([labels[int(i)] for i in index])
    usable = int(y.sum())
    if min(usable, len(y) - usable) < _FEWEST:
        raise InputError(
            f"the classifier needs at least {_FEWEST} labels each way, there are {usable} usable and "
            f"{len(y) - usable} not: label more photographs"
        )
    x, groups = features[index], np.array([blocks[int(i)] for i in index])
    splits, by_block = _splits(y, groups, seed)
    strength = _best_strength(x, y, splits)
    chances = np.empty(len(y))
    for train, test in splits:
        # The strength is chosen anew without the held-out fold, so that it has no part in what judges it.
        inner, _ = _splits(y[train], groups[train], seed)
        machine = _machine(_best_strength(x[train], y[train], inner)).fit(x[train], y[train])
        chances[test] = machine.predict_proba(x[test])[:, 1]
    kept = chances >= threshold
    right, all_kept = int(np.sum(kept & y)), int(kept.sum())
    return Selection(
        scores=_machine(strength).fit(x, y).predict_proba(features)[:, 1],
        labelled=len(y),
        usable=usable,
        folds=len(splits),
        by_block=by_block,
        strength=strength,
        precision=right / all_kept if all_kept else math.nan,
        recall=right / usable,
        precision_interval=wilson(right, all_kept),
        recall_interval=wilson(right, usable),
        threshold=threshold,
    )


def _machine(strength: float) -> Any:
    return make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=500))


def _splits(y: np.ndarray, groups: np.ndarray, seed: int) -> tuple[list[tuple[np.ndarray, np.ndarray]], bool]:
    """Return folds with both kinds on both sides: by block if that can be, else by photograph."""
    spread = min(len(set(groups[y])), len(set(groups[~y])))
    if spread >= FOLDS:
        folds = list(StratifiedGroupKFold(FOLDS, shuffle=True, random_state=seed).split(y, y, groups))
        if all(0 < y[side].sum() < len(side) for fold in folds for side in fold):
            return folds, True
    fewest = int(min(y.sum(), (~y).sum()))
    return list(StratifiedKFold(min(FOLDS, fewest), shuffle=True, random_state=seed).split(y, y)), False


def _best_strength(x: np.ndarray, y: np.ndarray, splits: list[tuple[np.ndarray, np.ndarray]]) -> float:
    def loss(strength: float) -> float:
        chances = np.empty(len(y))
        for train, test in splits:
            chances[test] = _machine(strength).fit(x[train], y[train]).predict_proba(x[test])[:, 1]
        return float(log_loss(y, chances))

    return min(_STRENGTHS, key=loss)


def wilson(hits: int, total: int) -> tuple[float, float]:
    """Return Wilson's 95 % interval of a share of ``hits`` among ``total``; 0 … 1 where there are none."""
    if not total:
        return 0.0, 1.0
    share, z2 = hits / total, _Z**2
    middle = (share + z2 / (2 * total)) / (1 + z2 / total)
    half = _Z * math.sqrt(share * (1 - share) / total + z2 / (4 * total**2)) / (1 + z2 / total)
    return max(0.0, middle - half), min(1.0, middle + half)
