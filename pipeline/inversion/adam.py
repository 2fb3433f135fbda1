"""Adam (Kingma and Ba 2015) for many problems side by side: a learning rate each, and any may leave."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

_BETAS, _EPS = (0.9, 0.999), 1e-8


class RowAdam:
    """Adam over tensors [n, …] whose rows are problems of their own.

    Adam works element by element, so a row's path is the same whatever the other rows are. All rows begin together;
    they need not end together.
    """

    def __init__(self, parameters: Sequence[Tensor]) -> None:
        self._first = [torch.zeros_like(p) for p in parameters]
        self._second = [torch.zeros_like(p) for p in parameters]
        self._steps = 0

    @torch.no_grad()
    def step(self, parameters: Sequence[Tensor], gradients: Sequence[Tensor], rates: Tensor) -> None:
        """Move parameters in place, by their gradients and each row's learning rate [n]."""
        self._steps += 1
        rates = rates / (1 - _BETAS[0] ** self._steps)
        root = math.sqrt(1 - _BETAS[1] ** self._steps)
        for p, g, first, second in zip(parameters, gradients, self._first, self._second, strict=True):
            first.lerp_(g, 1 - _BETAS[0])
            second.mul_(_BETAS[1]).addcmul_(g, g, value=1 - _BETAS[1])
            spread = second.sqrt().div_(root).add_(_EPS)
            p.sub_(first.div(spread).mul_(rates.view(-1, *[1] * (p.ndim - 1))))

    def keep(self, rows: Tensor) -> None:
        """Go on with some rows only: [n] bool, or their numbers."""
        self._first = [m[rows] for m in self._first]
        self._second = [v[rows] for v in self._second]
