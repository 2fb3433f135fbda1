"""Whether a generator gives back photographs it was shown: are its samples nearer to them than new photographs are?

The photographs are split: whole blocks of the city are held out (`pipeline.inversion.selection.held_out`), so that
their photographs show other houses than the rest. The distance of a sample to the nearest of the rest is compared with
the distance of a held-out photograph to the nearest of the rest: what one honestly new picture has. Samples that are
systematically nearer than that are copies, or nearly so.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import stats

from pipeline.metrics.statistics import nearest

SIGNIFICANCE = 0.01
NOTABLE = 0.6  # share of pairs in which the sample is the nearer one; 0.5 where there is no difference
LEAST_HELD_OUT = 10


@dataclass(frozen=True)
class Memorisation:
    """What the comparison found.

    Attributes:
        photograph: [N] int64, for each sample the nearest of all photographs.
        distance: [N] float64, how far that is.
        samples, held_out, rest: how many there are of each.
        median_sample, median_held_out: medians of the distances to the nearest of the rest.
        nearer: chance that a sample is nearer to the rest than a held-out photograph is, 0 … 1.
        p_value: of a one-sided Mann-Whitney test that samples are nearer than held-out photographs.
        below_all: share of samples that are nearer than every held-out photograph is.
    """

    photograph: np.ndarray
    distance: np.ndarray
    samples: int
    held_out: int
    rest: int
    median_sample: float | None
    median_held_out: float | None
    nearer: float | None
    p_value: float | None
    below_all: float | None

    @property
    def flagged(self) -> bool | None:
        """Whether the samples are so much nearer that it calls for a look; None where it could not be tested."""
        if self.p_value is None or self.nearer is None:
            return None
        return self.p_value < SIGNIFICANCE and self.nearer > NOTABLE


def memorisation(samples: np.ndarray, photographs: np.ndarray, held_out: np.ndarray) -> Memorisation:
    """Compare the samples' distances to photographs with those of held-out photographs.

    Args:
        samples: [N, F], features of samples.
        photographs: [M, F], features of photographs.
        held_out: [M] bool. With fewer than `LEAST_HELD_OUT` held out, or left, nothing is tested.
    """
    found, distance = nearest(samples, photographs)
    new, rest = photographs[held_out], photographs[~held_out]
    counts = (len(samples), len(new), len(rest))
    if min(len(new), len(rest)) < LEAST_HELD_OUT:
        return Memorisation(found, distance, *counts, None, None, None, None, None)
    of_samples, of_new = nearest(samples, rest)[1], nearest(new, rest)[1]
    statistic, p_value = stats.mannwhitneyu(of_samples, of_new, alternative="less", method="asymptotic")
    return Memorisation(
        found,
        distance,
        *counts,
        median_sample=float(np.median(of_samples)),
        median_held_out=float(np.median(of_new)),
        nearer=float(1 - statistic / (len(of_samples) * len(of_new))),
        p_value=float(p_value),
        below_all=float((of_samples < of_new.min()).mean()),
    )
