"""Sheets that show what an encoder keeps of photographs: photographs above, reconstructions below."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from atlas.files import atomic_path
from pipeline.gan.samples import to_uint8
from pipeline.inversion.encoders.encoder import Encoder
from pipeline.inversion.inputs import to_size

COLUMNS = 8


@torch.no_grad()
def write_sheet(encoder: Encoder, photographs: Tensor, paths: list[Path]) -> None:
    """Write a sheet to each path, whole or not at all.

    Args:
        encoder: with its generator, in whatever mode; it is used in evaluation mode.
        photographs: [N, 3, H, H] in [-1, 1]; shown in the generator's size, eight in a row, each row followed by the
            row of what the generator makes of their codes.
    """
    generator, training = encoder.generator, encoder.training
    assert generator is not None
    encoder.eval()
    rendered = to_uint8(generator.synthesis(encoder(photographs), noise_mode="const"))
    encoder.train(training)
    shown = to_uint8(to_size(photographs, generator.img_resolution))
    rows = []
    for start in range(0, len(shown), COLUMNS):
        rows += [_row(images[start : start + COLUMNS]) for images in (shown, rendered)]
    picture = Image.fromarray(np.concatenate(rows))
    for path in paths:
        with atomic_path(path) as temporary:
            picture.save(temporary, "PNG")


def _row(images: np.ndarray) -> np.ndarray:
    """Return [n, H, W, 3] side by side as [H, COLUMNS · W, 3], the rest white."""
    row = np.full((COLUMNS, *images.shape[1:]), 255, np.uint8)
    row[: len(images)] = images
    return np.concatenate(list(row), 1)
