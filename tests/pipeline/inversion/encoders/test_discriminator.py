"""The latent discriminator, its pools and its penalty."""

import pytest
import torch

from pipeline.inversion.encoders.discriminator import (
    LatentDiscriminator,
    LatentPool,
    adversarial_loss,
    discriminator_loss,
    r1_penalty,
)


def test_it_has_the_published_layers():
    shapes = {name: list(t.shape) for name, t in LatentDiscriminator(512).state_dict().items()}
    assert shapes == {
        **{f"mlp.{i}.weight": [512, 512] for i in (0, 2, 4)},
        **{f"mlp.{i}.bias": [512] for i in (0, 2, 4)},
        **{"mlp.6.weight": [1, 512], "mlp.6.bias": [1]},
    }


def test_a_pool_that_is_not_full_gives_what_it_gets():
    pool, rng = LatentPool(8, 3), torch.Generator().manual_seed(0)
    codes = torch.randn(5, 1, 3)
    assert torch.equal(pool.exchange(codes, rng), codes[:, 0])
    assert int(pool.count) == 5


def test_a_full_pool_gives_an_earlier_style_every_other_time_and_loses_none():
    pool, rng = LatentPool(50, 1), torch.Generator().manual_seed(0)
    number = torch.arange(1050.0).reshape(-1, 1, 1)
    pool.exchange(number[:50], rng)
    out = pool.exchange(number[50:], rng).flatten()
    earlier = out != number[50:].flatten()
    assert 0.45 < earlier.float().mean() < 0.55
    everything = torch.cat([out, pool.styles.flatten()]).sort().values
    assert torch.equal(everything, number.flatten())


def test_a_random_layer_of_each_code_is_taken():
    pool, rng = LatentPool(0, 1), torch.Generator().manual_seed(0)
    codes = torch.arange(4.0).reshape(1, 4, 1).expand(400, -1, -1)
    taken = pool.exchange(codes, rng).flatten().long()
    counts = taken.bincount(minlength=4)
    assert counts.min() > 60
    assert counts.sum() == 400


def test_the_penalty_of_a_linear_judge_is_its_squared_slope():
    D = LatentDiscriminator(4)
    D.mlp = torch.nn.Sequential(torch.nn.Linear(4, 1))
    penalty = r1_penalty(D, torch.randn(6, 4))
    assert penalty.item() == pytest.approx(D.mlp[0].weight.square().sum().item(), rel=1e-5)
    penalty.backward()
    assert torch.allclose(D.mlp[0].weight.grad, 2 * D.mlp[0].weight, atol=1e-6)


def test_losses_are_the_logistic_ones():
    D = LatentDiscriminator(4)
    D.mlp = torch.nn.Sequential(torch.nn.Linear(4, 1))
    real, fake = torch.randn(3, 4), torch.randn(3, 4)
    expected = torch.log1p(torch.exp(-D(real))).mean() + torch.log1p(torch.exp(D(fake))).mean()
    assert discriminator_loss(D, real, fake).item() == pytest.approx(expected.item(), rel=1e-5)
    codes = torch.randn(2, 5, 4)
    expected = torch.stack([torch.log1p(torch.exp(-D(codes[:, i]))).mean() for i in range(3)]).mean()
    assert adversarial_loss(D, codes, 2).item() == pytest.approx(expected.item(), rel=1e-5)
