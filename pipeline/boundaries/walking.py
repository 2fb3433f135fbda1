"""Walking many bases along the three axes and measuring what is drawn, one base at a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from atlas.progress import Progress, silent
from pipeline.gan import Generator
from pipeline.gan.rendering import render_codes

BATCH = 32
Measure = Callable[[np.ndarray], Mapping[str, np.ndarray]]
"""Images [n, H, W, 3] uint8 → by name, [n]."""


def walk_codes(base: np.ndarray, half_walks: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Return the codes along each axis.

    Args:
        base: [num_ws, w_dim] float32.
        half_walks: [3, num_ws, w_dim], from the base to the plus end of each axis.
        at: [T] shares of half a walk, −1 … 1.

    Returns:
        [3, T, num_ws, w_dim] float32.
    """
    moved = base.astype(np.float64) + at[None, :, None, None] * half_walks[:, None].astype(np.float64)
    return moved.astype(np.float32)


def measure_walks(
    generator: Generator,
    bases: np.ndarray,
    half_walks: np.ndarray,
    at: np.ndarray,
    measure: Measure,
    look: Callable[[np.ndarray], None] | None = None,
    progress: Progress = silent,
) -> dict[str, np.ndarray]:
    """Render every base along every axis and measure the images.

    Args:
        generator: in eval mode.
        bases: [B, num_ws, w_dim].
        half_walks: [3, num_ws, w_dim].
        at: [T] shares of half a walk.
        measure: of the images of one base.
        look: is shown the images of one base, [3, T, H, W, 3].
        progress: told of bases.

    Returns:
        By measure, [3, B, T]: axis walked, base, place.
    """
    found: dict[str, list[np.ndarray]] = {}
    for done, base in enumerate(bases):
        codes = walk_codes(base, half_walks, at)
        images = render_codes(generator, codes.reshape(-1, *base.shape), BATCH)
        for name, values in measure(images).items():
            found.setdefault(name, []).append(np.asarray(values, np.float64).reshape(3, len(at)))
        if look:
            look(images.reshape(3, len(at), *images.shape[1:]))
        progress(done + 1, len(bases))
    return {name: np.stack(values, 1) for name, values in found.items()}


def mean_interval(values: np.ndarray, seed: int, draws: int = 1000) -> np.ndarray:
    """Return the mean over bases and its 95 % interval by resampling bases.

    Args:
        values: [B, ...].
        seed: of the draws.
        draws: how many.

    Returns:
        [3, ...]: mean, low, high.
    """
    count = len(values)
    times = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), size=draws) / count
    drawn = np.tensordot(times, values, 1)
    low, high = np.percentile(drawn, [2.5, 97.5], axis=0)
    return np.stack([values.mean(0), low, high])
