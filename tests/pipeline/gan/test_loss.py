"""What no recording covers: style mixing, the averaged generator, lazy regularisation."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from atlas.preset import TrainSettings
from pipeline.gan.architecture import DiscriminatorArchitecture
from pipeline.gan.config import resolve
from pipeline.gan.loss import Losses, path_lengths, style_mix
from pipeline.gan.networks import Discriminator
from pipeline.gan.state import TrainingState
from pipeline.gan.training import ema_decay, update_average


@given(layers=st.integers(2, 18), seed=st.integers(0, 2**31))
def test_mixing_cuts_once_for_the_whole_batch(layers, seed):
    first, second = torch.zeros(3, layers, 2), torch.ones(3, layers, 2)
    mixed = style_mix(first, lambda: second, 1.0, torch.Generator().manual_seed(seed))
    assert torch.equal(mixed, mixed[:1, :, :1].expand_as(mixed))
    column = mixed[0, :, 0]
    cut = int((column == 0).sum())
    assert 1 <= cut < layers
    assert torch.equal(column, (torch.arange(layers) >= cut).float())


def test_mixing_has_its_probability_and_even_cuts(rng):
    layers, trials = 8, 4000
    cuts = [
        int((style_mix(torch.zeros(1, layers, 1), lambda: torch.ones(1, layers, 1), 0.9, rng) == 0).sum())
        for _ in range(trials)
    ]
    assert cuts.count(layers) / trials == pytest.approx(0.1, abs=0.02)
    for cut in range(1, layers):
        assert cuts.count(cut) / trials == pytest.approx(0.9 / (layers - 1), abs=0.03)


def test_no_mixing_draws_no_second_latent(rng):
    ws = torch.zeros(2, 8, 4)
    assert style_mix(ws, pytest.fail, 0.0, rng) is ws


@given(n=st.integers(1, 4), layers=st.integers(1, 5), size=st.integers(1, 5), length=st.floats(0.01, 100))
def test_path_length_of_even_gradients(n, layers, size, length):
    grads = torch.full([n, layers, size], length / size**0.5, dtype=torch.float64)
    assert torch.allclose(path_lengths(grads), torch.full([n], length, dtype=torch.float64))


@pytest.fixture
def run():
    return TrainingState.new(resolve(TrainSettings(config="auto", batch=4, channel_max=8, latent=8), 8), 1, 10, "cpu")


@settings(max_examples=8)
@given(decay=st.floats(0, 1))
def test_average_moves_weights_and_copies_buffers(decay):
    run = TrainingState.new(resolve(TrainSettings(batch=4, channel_max=4, latent=4), 8), 1, 10, "cpu")
    with torch.no_grad():
        for tensor in run.G.state_dict().values():
            tensor.add_(1.0)
    before = copy.deepcopy(run.G_ema)
    update_average(run.G_ema, run.G, decay)
    for old, new, target in zip(before.parameters(), run.G_ema.parameters(), run.G.parameters(), strict=True):
        assert torch.allclose(new, decay * old + (1 - decay) * target, atol=1e-6)
    for new, target in zip(run.G_ema.buffers(), run.G.buffers(), strict=True):
        assert torch.equal(new, target)


@given(batch=st.sampled_from([4, 16, 64]), images=st.just(0) | st.integers(2000, 10**7))
def test_half_life_of_the_average(batch, images):
    config = resolve(TrainSettings(config="auto", batch=batch), 64)
    half_life = min(config.ema_kimg * 1000, images * 0.05)
    decay = ema_decay(config, images)
    if half_life == 0:
        assert decay == 0
    else:
        assert decay ** (half_life / batch) == pytest.approx(0.5)
    assert ema_decay(resolve(TrainSettings(config="paper256", batch=batch), 64), 0) == 0.5 ** (batch / 20000)


@pytest.mark.parametrize(("batch", "group"), [(8, 4), (4, 4), (12, 2), (3, 4)])
def test_judging_both_at_once_is_judging_each_alone(batch, group, rng):
    D = Discriminator(DiscriminatorArchitecture(0, 8, 3, (6, 5), mbstd_group=group)).double()
    fakes, real = (torch.randn(batch, 3, 8, 8, generator=rng, dtype=torch.float64) for _ in range(2))
    losses = Losses(G=None, D=D, augment=lambda x: x, rng=rng, gamma=1.0)
    for together, alone in zip(losses.judge(fakes, real), (D(fakes), D(real)), strict=True):
        assert torch.allclose(together, alone, rtol=1e-12)


def test_lazy_regularisation_corrects_rate_and_beta(run):
    for adam, interval in ((run.adam_generator, run.config.pl_interval), (run.adam_discriminator, 16)):
        ratio = interval / (interval + 1)
        assert adam.rate == pytest.approx(run.config.lr_generator * ratio)
        assert adam.beta2 == pytest.approx(0.99**ratio)
        assert adam.epsilon == 1e-8
