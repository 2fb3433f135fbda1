"""Perceptual path length: how much the picture changes when the latent code moves a little (Karras et al. 2019, 2020).

In W, between the codes of two random latents; the point is anywhere between them ("full") or at their ends ("end", the
published choice for StyleGAN2). Both pictures of a pair have the same noise. The mean leaves out what lies below the
1st or above the 99th percentile. All in float64: the step is so small that float32 would measure its own rounding.
"""

from __future__ import annotations

import copy
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from atlas.progress import Progress, silent
from pipeline.gan import Generator

EPSILON = 1e-4
SAMPLINGS = ("end", "full")
_PERCENTILES = (1, 99)


@torch.no_grad()
def path_length(
    G: Generator,
    distance: Callable[[Tensor, Tensor], Tensor],
    count: int,
    seed: int,
    *,
    sampling: str = "end",
    batch: int = 8,
    progress: Progress = silent,
) -> float:
    """Return the perceptual path length in W.

    Args:
        G: an unconditional generator, in evaluation mode.
        distance: perceptual distance [N] of images [N, 3, H, W] in [−1, 1], float64.
        count: pairs of latents.
        seed: of latents, places and noise.
        sampling: "end" or "full".
        batch: pairs at once.
        progress: told of pairs.

    Raises:
        ValueError: no such sampling.
    """
    if sampling not in SAMPLINGS:
        raise ValueError(f"sampling must be one of {', '.join(SAMPLINGS)}, got {sampling!r}")
    device = G.mapping.w_avg.device
    exact = copy.deepcopy(G).double()
    rng = torch.Generator().manual_seed(seed)
    lengths = []
    for start in range(0, count, batch):
        n = min(batch, count - start)
        z = torch.randn(2 * n, G.z_dim, generator=rng, dtype=torch.float64).to(device)
        t = torch.rand(n, 1, 1, generator=rng, dtype=torch.float64).to(device)
        w0, w1 = exact.mapping(z).split(n)
        t = t if sampling == "full" else torch.zeros_like(t)
        ws = torch.cat([w0.lerp(w1, t), w0.lerp(w1, t + EPSILON)])
        images = exact.synthesis(ws, noise_mode="const")
        a, b = images.split(n)
        lengths.append((distance(a, b) / EPSILON**2).cpu().numpy())
        progress(start + n, count)
    return _trimmed_mean(np.concatenate(lengths))


def _trimmed_mean(lengths: np.ndarray) -> float:
    low = np.percentile(lengths, _PERCENTILES[0], method="lower")
    high = np.percentile(lengths, _PERCENTILES[1], method="higher")
    return float(lengths[(lengths >= low) & (lengths <= high)].mean())
