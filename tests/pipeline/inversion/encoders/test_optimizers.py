"""Ranger is rectified Adam with centred gradients and Lookahead; Adam is Adam."""

import pytest
import torch
from torch import nn

from pipeline.inversion.encoders.optimizers import LOOKAHEAD_STEPS, Optimizer, rectification


def network() -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(nn.Conv2d(2, 3, 3), nn.Flatten(), nn.Linear(12, 2))


def loss(net: nn.Module, step: int) -> torch.Tensor:
    x = torch.randn(4, 2, 4, 4, generator=torch.Generator().manual_seed(step))
    return net(x).square().sum() + net(x).sin().sum()


def difference(a: nn.Module, b: nn.Module) -> float:
    return max((p - q).abs().max().item() for p, q in zip(a.parameters(), b.parameters(), strict=True))


def test_adam_is_pytorchs():
    mine, theirs = network(), network()
    optimizer, reference = Optimizer(mine, "adam", 1e-2, (0.9, 0.99)), torch.optim.Adam(theirs.parameters(), 1e-2)
    reference.param_groups[0]["betas"] = (0.9, 0.99)
    for step in range(20):
        loss(mine, step).backward()
        optimizer.step()
        reference.zero_grad()
        loss(theirs, step).backward()
        reference.step()
    assert difference(mine, theirs) < 1e-6


def test_ranger_is_pytorchs_radam_with_centred_gradients_and_lookahead():
    mine, theirs = network(), network()
    optimizer = Optimizer(mine, "ranger", 1e-2, (0.95, 0.999), 1e-5)
    reference = torch.optim.RAdam(theirs.parameters(), 1e-2, (0.95, 0.999), 1e-5)
    slow = [p.detach().clone() for p in theirs.parameters()]
    for step in range(1, 4 * LOOKAHEAD_STEPS + 3):
        loss(mine, step).backward()
        optimizer.step()
        reference.zero_grad()
        loss(theirs, step).backward()
        for p in theirs.parameters():
            if p.ndim > 1:
                p.grad -= p.grad.flatten(1).mean(1).reshape(-1, *[1] * (p.ndim - 1))
        reference.step()
        if step % LOOKAHEAD_STEPS == 0:
            with torch.no_grad():
                for p, s in zip(theirs.parameters(), slow, strict=True):
                    s += 0.5 * (p - s)
                    p.copy_(s)
    assert difference(mine, theirs) < 1e-5


def test_a_parameter_without_a_gradient_stays_and_gradients_are_forgotten():
    net = network()
    before = [p.detach().clone() for p in net.parameters()]
    optimizer = Optimizer(net, "ranger", 1e-2, (0.95, 0.999), 1e-5)
    net[0](torch.ones(1, 2, 4, 4)).sum().backward()
    optimizer.step()
    assert all(p.grad is None for p in net.parameters())
    assert torch.equal(net[2].weight, before[2])
    assert not torch.equal(net[0].bias, before[1])


def test_rectification_begins_after_a_few_steps_and_tends_to_one():
    assert [rectification(t, 0.999) is None for t in range(1, 8)] == [True] * 5 + [False] * 2
    assert rectification(100_000, 0.999) == pytest.approx(1)
