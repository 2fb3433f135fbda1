"""Adam without momentum, which is what StyleGAN2 trains with: β1 = 0 leaves one moment to keep, not two.

PyTorch's own Adam would keep the second one all the same, and takes two seconds of imports when first made.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

GRADIENT_LIMIT = 1e5  # infinite gradients become this large; those that are no number become 0


class Adam:
    """Adam (Kingma and Ba 2015, algorithm 1) with β1 = 0 for one network.

    Attributes:
        moments: running mean of the squared gradient of each parameter, in the parameters' order.
        steps: how many were taken.
    """

    def __init__(self, network: nn.Module, rate: float, beta2: float, epsilon: float) -> None:
        self.parameters: list[Tensor] = list(network.parameters())
        self.rate, self.beta2, self.epsilon = rate, beta2, epsilon
        self.moments = [torch.zeros_like(p) for p in self.parameters]
        self.steps = 0

    @torch.no_grad()
    def step(self) -> None:
        """Take a step along the gradients there are (none counts as 0), and forget them."""
        self.steps += 1
        gradients: list[Tensor] = [torch.zeros_like(p) if p.grad is None else p.grad for p in self.parameters]
        for gradient in gradients:
            torch.nan_to_num(gradient, 0.0, GRADIENT_LIMIT, -GRADIENT_LIMIT, out=gradient)
        torch._foreach_mul_(self.moments, self.beta2)
        torch._foreach_addcmul_(self.moments, gradients, gradients, 1 - self.beta2)
        scales = torch._foreach_sqrt(self.moments)
        torch._foreach_div_(scales, math.sqrt(1 - self.beta2**self.steps))
        torch._foreach_add_(scales, self.epsilon)
        torch._foreach_addcdiv_(self.parameters, gradients, scales, -self.rate)
        for parameter in self.parameters:
            parameter.grad = None
