"""Our Adam against PyTorch's."""

import pytest
import torch
from torch import nn

from pipeline.gan.optimizer import Adam


@pytest.mark.parametrize("beta2", [0.99, 0.99 ** (16 / 17)])
def test_it_is_pytorchs_adam_with_beta1_zero(beta2, rng):
    mine, theirs = nn.Linear(5, 3), nn.Linear(5, 3)
    theirs.load_state_dict(mine.state_dict())
    adam = Adam(mine, 0.01, beta2, 1e-8)
    reference = torch.optim.Adam(theirs.parameters(), lr=0.01, betas=(0.0, beta2), eps=1e-8)
    for _ in range(30):
        for p, q in zip(mine.parameters(), theirs.parameters(), strict=True):
            p.grad = torch.randn(p.shape, generator=rng) * torch.rand([], generator=rng) * 5
            q.grad = p.grad.clone()
        adam.step()
        reference.step()
        assert all(p.grad is None for p in mine.parameters())
    for p, q in zip(mine.parameters(), theirs.parameters(), strict=True):
        assert torch.allclose(p, q, atol=1e-6)


def test_a_parameter_without_gradient_stays_and_its_moment_fades():
    network = nn.Linear(2, 1)
    adam = Adam(network, 0.01, 0.5, 1e-8)
    network.weight.grad, network.bias.grad = torch.ones(1, 2), torch.ones(1)
    adam.step()
    before = network.bias.clone()
    network.weight.grad = torch.ones(1, 2)
    adam.step()
    assert torch.equal(network.bias, before)
    assert adam.moments[1].item() == 0.25


def test_gradients_that_are_no_numbers_are_tamed():
    network = nn.Linear(3, 1, bias=False)
    adam = Adam(network, 0.01, 0.99, 1e-8)
    network.weight.grad = torch.tensor([[float("nan"), float("inf"), -float("inf")]])
    before = network.weight.clone()
    adam.step()
    step = (network.weight - before).detach()
    assert torch.allclose(step, torch.tensor([[0.0, -0.01, 0.01]]), atol=1e-6)
