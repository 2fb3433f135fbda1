"""A grid of samples as one small PNG, always from the same latents."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from atlas.files import atomic_path
from pipeline.gan.networks import Generator

SIDE = 512  # about how many pixels wide a grid is
BATCH = 16


def sample_latents(G: Generator, seed: int) -> Tensor:
    """Return the latents of the grid's images, [count, z_dim]: a grid twice as wide as high, 1 to 8 in height."""
    rows = min(max(SIDE // (2 * G.img_resolution), 1), 8)
    return torch.randn(2 * rows * rows, G.z_dim, generator=torch.Generator().manual_seed(seed))


def to_uint8(images: Tensor) -> np.ndarray:
    """Turn [N, 3, H, W] in [−1, 1] into [N, H, W, 3] uint8; values beyond are clamped."""
    pixels = (images.float() * 127.5 + 128).clamp(0, 255).to(torch.uint8)
    return pixels.permute(0, 2, 3, 1).cpu().numpy()


@torch.no_grad()
def write_samples(G: Generator, latents: Tensor, paths: list[Path]) -> None:
    """Render the latents with the stored noise and write the grid to each path, whole or not at all."""
    batches = latents.to(G.mapping.w_avg).split(BATCH)
    rendered = [to_uint8(G.synthesis(G.mapping(z), noise_mode="const")) for z in batches]
    images = np.concatenate(rendered)
    count, height, width, _ = images.shape
    rows = round((count / 2) ** 0.5)
    grid = images.reshape(rows, count // rows, height, width, 3).swapaxes(1, 2)
    picture = Image.fromarray(grid.reshape(rows * height, count // rows * width, 3))
    for path in paths:
        with atomic_path(path) as temporary:
            picture.save(temporary, "PNG")
