"""What a step means: from a score to the percentile of deprivation that photographs with this score have."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.isotonic import IsotonicRegression

from pipeline.boundaries.metrics import draw_blocks

PLACES = 12
"""Places to each side of the middle at which the curve is told: twelfths of half a walk."""
_DRAWS = 200
_DIGITS = 4


def percentile_curve(
    scores: np.ndarray, percentiles: np.ndarray, blocks: np.ndarray, middle: float, span: float, seed: int
) -> dict[str, Any]:
    """Fit the expected percentile as a rising function of the score, with an interval by resampling blocks.

    Args:
        scores: [N] of photographs by machines that have not seen them, as signed distances.
        percentiles: [N] 0 the most deprived … 1 the least.
        blocks: [N] int, 0 … count − 1.
        middle: the score to count from, such as the photographs' median.
        span: how much the score changes over a whole walk.
        seed: of the draws.

    Returns:
        JSON-able: ``at`` (−1 … 1, shares of half a walk), and at each the ``score``, the expected ``percentile`` and
        the ends of its 95 % interval, ``low`` and ``high``.
    """
    at = np.arange(-PLACES, PLACES + 1) / PLACES
    asked = middle + at * span / 2
    curve = _isotonic(scores, percentiles, np.ones(len(scores)), asked)
    times = draw_blocks(int(blocks.max()) + 1, _DRAWS, seed)[:, blocks]
    drawn = np.stack([_isotonic(scores, percentiles, weight, asked) for weight in times if weight.any()])
    low, high = np.percentile(drawn, [2.5, 97.5], axis=0)
    values = {"at": at, "score": asked, "percentile": curve, "low": np.minimum(low, curve)}
    values["high"] = np.maximum(high, curve)
    return {name: [round(float(v), _DIGITS) for v in value] for name, value in values.items()}


def _isotonic(scores: np.ndarray, percentiles: np.ndarray, weight: np.ndarray, asked: np.ndarray) -> np.ndarray:
    seen = weight > 0
    machine = IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip")
    machine.fit(scores[seen], percentiles[seen], sample_weight=weight[seen].astype(np.float64))
    curve: np.ndarray = machine.predict(asked)
    return curve
