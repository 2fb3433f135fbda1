"""Where each node of the grid lies in latent space: base + health·d₀ + income·d₁ + education·d₂.

Arithmetic is float64 in NumPy and independent of batches, so that a node's code is the same however it is asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from atlas.grid import Grid
from pipeline.boundaries.store import Boundaries
from pipeline.boundaries.typical import OwnCodes
from pipeline.gan import Generator


@dataclass(frozen=True)
class Walks:
    """The latent codes of a whole grid, made on demand.

    Attributes:
        grid: how many bases and steps.
        bases: the code each walk starts from, [base, num_ws, w_dim] float32.
        directions: the vector of one step along each axis, [3, num_ws, w_dim] float32.
    """

    grid: Grid
    bases: np.ndarray
    directions: np.ndarray

    def plane(self, base: int, health: int) -> np.ndarray:
        """Return the codes of one plane.

        Args:
            base: which base.
            health: array index on the health axis, 0 … 2n.

        Returns:
            [income, education, num_ws, w_dim] float32.
        """
        n, steps = self.grid.steps, np.arange(-self.grid.steps, self.grid.steps + 1, dtype=np.float64)
        start = self.bases[base].astype(np.float64) + (health - n) * self.directions[0].astype(np.float64)
        income = np.multiply.outer(steps, self.directions[1].astype(np.float64))
        education = np.multiply.outer(steps, self.directions[2].astype(np.float64))
        return (start + income[:, None] + education[None, :]).astype(np.float32)

    def scores(self, boundaries: Boundaries) -> np.ndarray:
        """Return every node's signed distance to the three boundaries, [base, health, income, education, 3] float32."""
        return self._every_plane(boundaries.scores)

    def typicality(self, generator: Generator, seed: int) -> np.ndarray:
        """Return how usual every node's code is for the generator, [base, health, income, education] float32."""
        return self._every_plane(OwnCodes.sample(generator, seed).typicality)

    def _every_plane(self, measure: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        """Measure codes [M, num_ws, w_dim] plane by plane, so that memory does not grow with the grid."""
        side = self.grid.side
        planes = [measure(self.plane(b, h).reshape(-1, *self.bases.shape[1:])) for b, h in self.grid.planes()]
        values = np.stack(planes)
        return values.reshape(self.grid.bases, side, side, side, *values.shape[2:]).astype(np.float32)
