"""Whether a generator gives back photographs it was shown: are its samples nearer to them than new photographs are?

The distance of a sample to the nearest of the photographs shown is compared with the distance of a new photograph to
the nearest of them: what one honestly new picture has. Samples that are systematically nearer than that are copies, or
nearly so.

New photographs are best those of a dataset that the generator never saw. Where there is none, whole blocks of its own
(`pipeline.inversion.selection.held_out`) stand for them, whose photographs show other houses than the rest: the
generator was shown both, so that copies of the rest are seen and copies of the blocks are not.
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
        photograph: [N] int64, for each sample the nearest of all photographs shown.
        distance: [N] float64, how far that is.
        samples, held_out, rest: how many there are of each: samples, new photographs, those both are held against.
        median_sample, median_held_out: medians of the distances to the nearest of the rest.
        nearer: chance that a sample is nearer to the rest than a new photograph is, 0 … 1.
        p_value: of a one-sided Mann-Whitney test that samples are nearer than new photographs.
        below_all: share of samples that are nearer than every new photograph is.
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


def memorisation(
    samples: np.ndarray, photographs: np.ndarray, new: np.ndarray, rest: np.ndarray | None = None
) -> Memorisation:
    """Compare the samples' distances to photographs with those of new photographs.

    Args:
        samples: [N, F], features of samples.
        photographs: [M, F], features of the photographs that the generator was shown.
        new: [K, F], features of new photographs. With fewer than `LEAST_HELD_OUT`, nothing is tested.
        rest: features of those that samples and new photographs are held against; all that were shown where absent.
    """
    found, distance = nearest(samples, photographs)
    rest = photographs if rest is None else rest
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
