"""Ranger, which the published encoders train with, and Adam, over lists of tensors.

Ranger is rectified Adam (Liu et al. 2020), gradients whose mean over each output is taken out (Yong et al. 2020), and
Lookahead (Zhang et al. 2019): every six steps the weights fall back half-way to where they were.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn

OPTIMIZERS = ("ranger", "adam")
LOOKAHEAD_STEPS, LOOKAHEAD_SHARE = 6, 0.5
RECTIFY_FROM = 5.0  # below so many effective samples the adaptive rate's variance is unbounded: plain momentum


class Optimizer:
    """Adam or Ranger for one network.

    Attributes:
        means, squares: running means of the gradient and of its square, in the parameters' order.
        slow: Ranger's slow weights; empty for Adam.
        steps: how many were taken.
    """

    def __init__(
        self, network: nn.Module, kind: str, rate: float, betas: tuple[float, float], epsilon: float = 1e-8
    ) -> None:
        self.parameters: list[Tensor] = list(network.parameters())
        self.ranger, self.rate, self.betas, self.epsilon = kind == "ranger", rate, betas, epsilon
        self.means = [torch.zeros_like(p) for p in self.parameters]
        self.squares = [torch.zeros_like(p) for p in self.parameters]
        self.slow = [p.detach().clone() for p in self.parameters] if self.ranger else []
        self.steps = 0

    @torch.no_grad()
    def step(self) -> None:
        """Take a step along the gradients there are (none counts as 0), and forget them."""
        self.steps += 1
        beta1, beta2 = self.betas
        gradients: list[Tensor] = [torch.zeros_like(p) if p.grad is None else p.grad for p in self.parameters]
        if self.ranger:
            for gradient in gradients:
                if gradient.ndim > 1:
                    gradient.sub_(gradient.mean(dim=tuple(range(1, gradient.ndim)), keepdim=True))
        torch._foreach_lerp_(self.means, gradients, 1 - beta1)
        torch._foreach_mul_(self.squares, beta2)
        torch._foreach_addcmul_(self.squares, gradients, gradients, 1 - beta2)
        correction1, correction2 = 1 - beta1**self.steps, 1 - beta2**self.steps
        rectified = rectification(self.steps, beta2) if self.ranger else 1.0
        if rectified is None:
            torch._foreach_add_(self.parameters, self.means, alpha=-self.rate / correction1)
        else:
            # Ranger's ε joins the uncorrected root, Adam's the corrected one; each as published.
            scales = torch._foreach_sqrt(self.squares)
            if not self.ranger:
                torch._foreach_div_(scales, math.sqrt(correction2))
            torch._foreach_add_(scales, self.epsilon)
            gain = rectified * math.sqrt(correction2) if self.ranger else 1.0
            torch._foreach_addcdiv_(self.parameters, self.means, scales, -self.rate * gain / correction1)
        if self.ranger and self.steps % LOOKAHEAD_STEPS == 0:
            torch._foreach_lerp_(self.slow, self.parameters, LOOKAHEAD_SHARE)
            for parameter, slow in zip(self.parameters, self.slow, strict=True):
                parameter.copy_(slow)
        for parameter in self.parameters:
            parameter.grad = None

    def tensors(self) -> Iterable[tuple[str, Tensor]]:
        """Yield the optimiser's tensors by name; live."""
        for kind, tensors in (("mean", self.means), ("square", self.squares), ("slow", self.slow)):
            for i, tensor in enumerate(tensors):
                yield f"{kind}.{i}", tensor


def rectification(step: int, beta2: float) -> float | None:
    """Return what RAdam multiplies Adam's step by, or None where momentum alone shall be used (the first few steps)."""
    most = 2 / (1 - beta2) - 1
    decayed = beta2**step
    samples = most - 2 * step * decayed / (1 - decayed)
    if samples < RECTIFY_FROM:
        return None
    return math.sqrt((samples - 4) / (most - 4) * (samples - 2) / samples * most / (most - 2))
