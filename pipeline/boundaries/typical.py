"""How usual a latent code is among the generator's own: where a walk leaves what the generator knows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

if TYPE_CHECKING:
    from pipeline.gan import Generator

SAMPLES = 10_000
_ROWS = 65_536  # codes looked at together: bounds the memory
_FLOOR = 1e-9  # of the largest variance; the generator's codes do not move in directions below it


@dataclass(frozen=True, eq=False)
class OwnCodes:
    """Codes that the generator itself makes, and how far they lie from their mean.

    Distances are Mahalanobis's: in standard deviations of the generator's own codes in that direction.

    Attributes:
        mean: [w_dim].
        whitening: [w_dim, w_dim]; (w − mean) @ whitening has unit covariance.
        distances: [samples] of the samples from their mean, ascending.
    """

    mean: np.ndarray
    whitening: np.ndarray
    distances: np.ndarray

    @classmethod
    def sample(cls, generator: Generator, seed: int, samples: int = SAMPLES) -> Self:
        """Draw ``samples`` codes of the generator, without truncation."""
        import torch

        z = np.random.default_rng(seed).standard_normal((samples, generator.z_dim), dtype=np.float32)
        with torch.no_grad():
            w = generator.mapping(torch.from_numpy(z).to(generator.mapping.w_avg.device))[:, 0]
        return cls.of(w.cpu().numpy())

    @classmethod
    def of(cls, w: np.ndarray) -> Self:
        """Take codes [samples, w_dim] as the generator's own."""
        w = w.astype(np.float64)
        mean = w.mean(0)
        variances, axes = np.linalg.eigh((w - mean).T @ (w - mean) / len(w))
        whitening = axes / np.sqrt(np.maximum(variances, _FLOOR * variances[-1]))
        return cls(mean, whitening, np.sort(_lengths((w - mean) @ whitening)))

    def typicality(self, w: np.ndarray) -> np.ndarray:
        """Return the share of the generator's own codes that lie farther out than each code.

        Args:
            w: [M, num_ws, w_dim].

        Returns:
            [M] float32: 1 usual, 0 never seen. Where layers differ, the worst of them counts.
        """
        nearer = np.searchsorted(self.distances, self.farthest(w), side="right")
        shares: np.ndarray = (1 - nearer / len(self.distances)).astype(np.float32)
        return shares

    def farthest(self, w: np.ndarray) -> np.ndarray:
        """Return how far each code [M, num_ws, w_dim] lies from the mean, [M] float64, its worst layer counting."""
        found = np.empty(len(w))
        rows = max(1, _ROWS // w.shape[1])
        for start in range(0, len(w), rows):
            chunk = w[start : start + rows]
            if (chunk == chunk[:, :1]).all():
                chunk = chunk[:, :1]
            found[start : start + rows] = _lengths((chunk.astype(np.float64) - self.mean) @ self.whitening).max(1)
        return found


def typicality(w: np.ndarray, generator: Generator, seed: int) -> np.ndarray:
    """Return how usual codes [M, num_ws, w_dim] are among ``generator``'s own, [M] float32, 1 usual … 0 never seen.

    To ask for many batches of codes, draw the samples once with `OwnCodes.sample`.
    """
    return OwnCodes.sample(generator, seed).typicality(w)


def _lengths(vectors: np.ndarray) -> np.ndarray:
    return np.sqrt(np.square(vectors).sum(-1))
