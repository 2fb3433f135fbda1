"""Codes drawn from a generator and turned into pixels, as every stage that looks at its images needs them."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.func import functional_call

from pipeline.gan.networks import Generator
from pipeline.gan.samples import to_uint8
from pipeline.processes import Share

NOISE = "noise_const"  # ending of the names of the synthesis network's noise maps


def render_with_noise(generator: Generator, ws: Tensor, rng: torch.Generator, share: Share) -> Tensor:
    """Render codes with random noise, drawn for the whole batch, to be the same however that is shared.

    Args:
        generator: in whatever mode.
        ws: a share's codes [N, num_ws, w_dim].
        rng: where the noise comes from.
        share: which rows of the batch these are.

    Returns:
        [N, 3, H, W], nominally in [−1, 1]; differentiable.
    """
    sides = {name: b.shape[-1] for name, b in generator.synthesis.named_buffers() if name.endswith(NOISE)}
    maps = {name: share.normal([len(ws), 1, side, side], rng, ws.dtype) for name, side in sides.items()}
    images: Tensor = functional_call(generator.synthesis, maps, (ws,), {"noise_mode": "const"})
    return images


@torch.no_grad()
def render_codes(generator: Generator, codes: np.ndarray, batch: int) -> np.ndarray:
    """Render codes with the generator's own constant noise.

    Args:
        generator: in eval mode.
        codes: [N, num_ws, w_dim] float32.
        batch: images per call.

    Returns:
        [N, H, W, 3] uint8, by round-half-up of x·127.5 + 127.5 (the official code's quantisation), clipped.
    """
    device = generator.mapping.w_avg.device
    parts = []
    for start in range(0, len(codes), batch):
        w = torch.from_numpy(codes[start : start + batch]).to(device)
        parts.append(to_uint8(generator.synthesis(w, noise_mode="const")))
    return np.concatenate(parts)


@torch.no_grad()
def random_codes(generator: Generator, count: int, truncation: float, seed: int) -> np.ndarray:
    """Draw codes; code i depends on the seed and i alone, so that asking for more keeps the first ones.

    Args:
        generator: in eval mode.
        count: how many.
        truncation: ψ of the truncation trick, 1 for none.
        seed: of the run.

    Returns:
        [count, num_ws, w_dim] float32.
    """
    z = np.stack([np.random.default_rng([seed, i]).standard_normal(generator.z_dim) for i in range(count)])
    device = generator.mapping.w_avg.device
    codes = [
        generator.mapping(torch.from_numpy(row[None]).float().to(device), truncation_psi=truncation)[0].cpu().numpy()
        for row in z
    ]
    return np.stack(codes).astype(np.float32)
