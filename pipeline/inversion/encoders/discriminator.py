"""Encoder4Editing's latent discriminator: it tells the encoder's styles from the generator's own (Tov et al. 2021).

With its two pools of earlier codes, so that it does not forget, and R1 (Mescheder et al. 2018).
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_LAYERS = 4


class LatentDiscriminator(nn.Module):
    """One style [N, D] → a logit [N, 1]; above 0 means "the generator's own"."""

    def __init__(self, w_dim: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for _ in range(_LAYERS - 1):
            layers += [nn.Linear(w_dim, w_dim), nn.LeakyReLU(0.2)]
        self.mlp = nn.Sequential(*layers, nn.Linear(w_dim, 1))

    def forward(self, w: Tensor) -> Tensor:
        """Judge styles."""
        logits: Tensor = self.mlp(w)
        return logits


class LatentPool:
    """Up to ``size`` earlier styles; once full, a style that comes is, every other time, exchanged for an earlier one.

    Attributes:
        styles: [size, D]; the first ``count`` are there.
        count: [1] int64.
    """

    def __init__(self, size: int, w_dim: int, like: Tensor | None = None) -> None:
        """Make an empty pool, where ``like`` is and of its type; float32 on the processor without."""
        self.styles = torch.zeros(size, w_dim) if like is None else like.new_zeros(size, w_dim)
        self.count = torch.zeros(1, dtype=torch.int64)

    def exchange(self, codes: Tensor, rng: torch.Generator) -> Tensor:
        """Give styles in, get as many out: [N, L, D] (a random layer of each is taken) → [N, D]."""
        picks = torch.randint(codes.shape[1], (len(codes),), generator=rng)
        keep = torch.rand(len(codes), generator=rng)
        places = torch.randint(max(1, len(self.styles)), (len(codes),), generator=rng)
        out = []
        for code, layer, chance, place in zip(codes, picks.tolist(), keep.tolist(), places.tolist(), strict=True):
            style = code[layer].clone()
            if int(self.count) < len(self.styles):
                self.styles[int(self.count)] = style
                self.count += 1
            elif len(self.styles) and chance > 0.5:
                style, earlier = self.styles[place].clone(), style
                self.styles[place] = earlier
            out.append(style)
        return torch.stack(out)

    def tensors(self) -> Iterator[tuple[str, Tensor]]:
        """Yield the pool's tensors by name; live."""
        yield from (("styles", self.styles), ("count", self.count))


def discriminator_loss(D: LatentDiscriminator, real: Tensor, fake: Tensor) -> Tensor:
    """Return the logistic loss, a scalar, of styles [N, D]."""
    return F.softplus(-D(real)).mean() + F.softplus(D(fake)).mean()


def r1_penalty(D: LatentDiscriminator, real: Tensor) -> Tensor:
    """Return the mean squared slope of the logit at the generator's own styles [N, D], a scalar."""
    real = real.detach().requires_grad_()
    (slope,) = torch.autograd.grad(D(real).sum(), real, create_graph=True)
    return slope.square().sum(1).mean()


def adversarial_loss(D: LatentDiscriminator, codes: Tensor, stage: int) -> Tensor:
    """Return how well the discriminator tells the styles 0 … ``stage`` of codes [N, L, D] apart, averaged: a scalar."""
    return F.softplus(-D(codes[:, : stage + 1].flatten(0, 1))).mean()
