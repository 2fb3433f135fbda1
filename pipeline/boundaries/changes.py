"""What changes in the images along each axis, measured over many bases: a description, not a cause."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from atlas.grid import AXES
from atlas.progress import Progress, silent
from pipeline.boundaries.looks import LOOKS, looks
from pipeline.boundaries.store import Boundaries
from pipeline.boundaries.typical import OwnCodes
from pipeline.boundaries.walking import mean_interval, measure_walks, walk_codes
from pipeline.gan import Generator

AT = np.array([-1.0, -0.5, 0.0, 0.5, 1.0])
"""Where walks are looked at, in shares of half a walk."""
_DIGITS = 5


@dataclass(frozen=True, eq=False)
class Changes:
    """What the walks of one method change.

    Attributes:
        report: JSON-able, see `measure_changes`.
        differences: [3, H, W, 3] float, the mean over bases of the plus end's image less the minus end's, −255 … 255.
    """

    report: dict[str, Any]
    differences: np.ndarray


def measure_changes(
    generator: Generator,
    boundaries: Boundaries,
    bases: np.ndarray,
    spread: dict[str, float],
    seed: int,
    progress: Progress = silent,
) -> Changes:
    """Walk ``bases`` along each axis and measure the images.

    Args:
        generator: in eval mode.
        boundaries: whose directions are walked, from the 5th to the 95th percentile of the photographs' scores.
        bases: [B, num_ws, w_dim].
        spread: by look, its standard deviation over the photographs.
        seed: of the intervals and of typicality.
        progress: told of bases.

    Returns:
        The report has ``bases``, ``at``; ``axes``, per axis and look the ``means`` at each place, the ``change`` from
        end to end with its 95 % ``interval`` over bases, and the change ``in_sd`` of the photographs; and
        ``typicality``, per axis its mean over bases at each place.
    """
    total = np.zeros((3, generator.img_resolution, generator.img_resolution, 3))

    def add(images: np.ndarray) -> None:
        total[...] += images[:, -1].astype(np.float64) - images[:, 0]

    half_walks = boundaries.half_walks()
    found = measure_walks(generator, bases, half_walks, AT, looks, add, progress)
    axes = {axis: {name: _change(found[name][a], spread[name], seed) for name in LOOKS} for a, axis in enumerate(AXES)}
    report = {"bases": len(bases), "at": AT.tolist(), "axes": axes}
    report["typicality"] = _typicality(generator, bases, half_walks, seed)
    return Changes(report, total / len(bases))


def _change(values: np.ndarray, spread: float, seed: int) -> dict[str, Any]:
    """Describe one look along one axis, from values [B, T]."""
    change, low, high = mean_interval(values[:, -1] - values[:, 0], seed)
    return {
        "means": [round(float(v), _DIGITS) for v in values.mean(0)],
        "change": round(float(change), _DIGITS),
        "interval": [round(float(low), _DIGITS), round(float(high), _DIGITS)],
        "in_sd": round(float(change / spread), _DIGITS) if spread > 0 else None,
    }


def _typicality(generator: Generator, bases: np.ndarray, half_walks: np.ndarray, seed: int) -> dict[str, list[float]]:
    own = OwnCodes.sample(generator, seed)
    codes = np.stack([walk_codes(base, half_walks, AT) for base in bases], 1)  # [3, B, T, num_ws, w_dim]
    shares = own.typicality(codes.reshape(-1, *bases.shape[1:])).reshape(codes.shape[:3])
    return {axis: [round(float(v), _DIGITS) for v in shares[a].mean(0)] for a, axis in enumerate(AXES)}
