"""The projector's numbers, as published but for one, and its schedules (Karras et al. 2020, appendix D)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from torch import Tensor

W_SAMPLES = 10_000  # as published


@dataclass(frozen=True)
class ProjectorSettings:
    """The projector's numbers, as published (the pixels' weight apart).

    Attributes:
        steps: of the optimiser.
        learning_rate: at its height.
        rampup: share of the steps in which the learning rate rises, linearly.
        rampdown: share of the steps in which it falls, as a cosine.
        w_noise: strength of the noise on w at the start, in standard deviations of w.
        w_noise_length: share of the steps after which that noise has gone.
        noise_weight: weight of the noise maps' regulariser.
        w_samples: seeded samples behind the mean and standard deviation of w.
        pixel_weight: weight of the mean squared pixel difference beside the features' distance; 0 as published. The
            published features, VGG16's, see colour and brightness in every pixel; EfficientNet-Lite0's begin at half
            the size and are of unit length. Measured on the calibration street at 32 px after 100 steps: 3 lowers the
            squared error from 0.131 to 0.089, leaves the perceptual distance as it is, and doubles the correlation
            between the bricks' tone in photograph and image.
        space: "w", one code for all layers, as published; or "w+", one per layer, each with noise of its own on the
            same schedule.
        patience: after so many steps in which the distance fell by less than ``tolerance``, a photograph goes straight
            to the ramp-down, and stops when that is over. The ramp-down itself is never cut: a code taken where the
            learning rate is high is a noisy one. 0 for never, as published.
        tolerance: share of the least distance so far by which a step must be better to count as a gain.
    """

    steps: int = 1000
    learning_rate: float = 0.1
    rampup: float = 0.05
    rampdown: float = 0.25
    w_noise: float = 0.05
    w_noise_length: float = 0.75
    noise_weight: float = 1e5
    w_samples: int = W_SAMPLES
    pixel_weight: float = 3.0
    space: str = "w"
    patience: int = 0
    tolerance: float = 0.01

    @property
    def fall(self) -> int:
        """Return the first step of the ramp-down."""
        return math.ceil(self.steps * (1.0 - self.rampdown))


def learning_rate(step: int, settings: ProjectorSettings) -> float:
    """Return the learning rate at ``step``, 0 … steps − 1; it is 0 at step 0."""
    t = step / settings.steps
    fall = min(1.0, (1.0 - t) / settings.rampdown)
    smooth = 0.5 - 0.5 * math.cos(fall * math.pi)
    return settings.learning_rate * smooth * min(1.0, t / settings.rampup)


def w_noise_strength(step: int, settings: ProjectorSettings) -> float:
    """Return the strength of the noise on w at ``step``, in standard deviations of w."""
    t = step / settings.steps
    return settings.w_noise * max(0.0, 1.0 - t / settings.w_noise_length) ** 2


class Clocks:
    """Where each photograph of a batch stands in the schedules; without ``patience`` all stand at the same step.

    A photograph's clock hangs on its own distances alone, so that it is the same in any batch.
    """

    def __init__(self, count: int, settings: ProjectorSettings) -> None:
        steps = range(settings.steps)
        self._settings = settings
        self._rates = np.array([learning_rate(step, settings) for step in steps])
        self._strengths = np.array([w_noise_strength(step, settings) for step in steps])
        self._at = np.zeros(count, int)
        self._least = np.full(count, np.inf)
        self._idle = np.zeros(count, int)

    def learning_rates(self) -> np.ndarray:
        """Return each photograph's learning rate: [n]."""
        rates: np.ndarray = self._rates[self._at]
        return rates

    def w_noise_strengths(self) -> np.ndarray:
        """Return the strength of each photograph's noise on w, in standard deviations of w: [n]."""
        strengths: np.ndarray = self._strengths[self._at]
        return strengths

    def advance(self, distance: Tensor) -> np.ndarray:
        """Count one step, whose distances were [n]; return which photographs have finished: [n] bool."""
        self._at += 1
        if self._settings.patience:
            self._skip(distance.double().cpu().numpy())
        finished: np.ndarray = self._at >= self._settings.steps
        return finished

    def keep(self, rows: np.ndarray) -> None:
        """Go on with some photographs only: [n] bool."""
        self._at, self._least, self._idle = self._at[rows], self._least[rows], self._idle[rows]

    def _skip(self, distance: np.ndarray) -> None:
        better = distance < self._least * (1 - self._settings.tolerance)
        self._least[better] = distance[better]
        self._idle = np.where(better, 0, self._idle + 1)
        tired = (self._idle >= self._settings.patience) & (self._at < self._settings.fall)
        self._at[tired] = self._settings.fall
