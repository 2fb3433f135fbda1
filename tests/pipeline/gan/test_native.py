"""Native operators against their plain twins: values, first and second derivatives, and repeatability."""

import dataclasses
import json

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from atlas.preset import TrainSettings
from atlas.stage import run_stage
from pipeline.gan import activation, ops, resample, winograd
from pipeline.gan.architecture import DiscriminatorArchitecture, GeneratorArchitecture
from pipeline.gan.loss import Losses
from pipeline.gan.native import operators
from pipeline.gan.networks import Discriminator, Generator
from pipeline.gan.stages import train_stage
from pipeline.gan.training import train

pytestmark = pytest.mark.skipif(operators(torch.device("cpu")) is None, reason="no native operators on this machine")
DOUBLE = torch.float64
FIR = ops.setup_filter([1, 2, 5, 3]).to(DOUBLE)  # lopsided, so that a filter the wrong way round shows
MODES = [(1, 1), (2, 1), (1, 2)]


def draw(*shape, seed=0, dtype=DOUBLE):
    return torch.randn(shape, dtype=dtype, generator=torch.Generator().manual_seed(seed)).requires_grad_()


@pytest.fixture(autouse=True)
def eager(monkeypatch):
    """Let the native operators do what is too small, or too exact, to be given to them."""
    monkeypatch.setattr(winograd, "PANEL", {torch.float32: 16, DOUBLE: 8})
    for limit in ("LEAST_MULTIPLICATIONS", "LEAST_TILES", "LEAST_SIDE_UP"):
        monkeypatch.setattr(winograd, limit, 0)


@pytest.fixture
def plainly(monkeypatch):
    """Give a function that runs another with the plain operators."""

    def run(work):
        with monkeypatch.context() as patch:
            for module in (winograd, resample):
                patch.setattr(module, "operators", lambda device: None)
            return work()

    return run


@pytest.mark.parametrize(("up", "down"), MODES)
@pytest.mark.parametrize("flip_weight", [True, False])
def test_convolution_and_its_derivatives_are_the_plain_ones(up, down, flip_weight, plainly):
    x, w = draw(2, 16, 10, 12), draw(8, 16, 3, 3, seed=1)
    assert winograd.suits(x, w, FIR, up, down)

    def run():
        y = ops.conv2d_resample(x, w, FIR, up, down, 1, flip_weight=flip_weight)
        slope = torch.autograd.grad(y.square().sum(), (x, w), create_graph=True)
        bend = torch.autograd.grad(sum(t.square().sum() for t in slope), (x, w))
        return y, *slope, *bend

    for mine, plain in zip(run(), plainly(run), strict=True):
        assert (mine - plain).abs().max() <= 1e-10 * plain.abs().max()


@pytest.mark.parametrize(("up", "down"), MODES)
def test_convolution_has_first_and_second_derivatives(up, down):
    x, w = draw(1, 8, 8 if down == 2 else 4, 8 if down == 2 else 5 - 1), draw(8, 8, 3, 3, seed=1)
    assert torch.autograd.gradcheck(lambda x, w: winograd.conv(x, w, FIR, up, down), (x, w), fast_mode=True)
    assert torch.autograd.gradgradcheck(lambda x, w: winograd.conv(x, w, FIR, up, down), (x, w), fast_mode=True)


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    mode=st.sampled_from(MODES),
    n=st.integers(1, 3),
    inner=st.sampled_from([16, 32, 48]),
    out=st.sampled_from([16, 48]),
    height=st.integers(2, 9),
    width=st.integers(2, 9),
    seed=st.integers(0, 2**16),
)
def test_single_precision_stays_close(mode, n, inner, out, height, width, seed):
    up, down = mode
    x = draw(n, inner, 2 * height + 4, 2 * width + 4, seed=seed, dtype=torch.float32).detach()
    w = draw(out, inner, 3, 3, seed=seed + 1, dtype=torch.float32).detach()
    assert winograd.suits(x, w, FIR, up, down)
    mine = winograd.conv(x, w, FIR, up, down)
    exact = winograd.conv(x.double(), w.double(), FIR, up, down)
    assert (mine - exact).abs().max() <= 1e-5 * exact.abs().max()


@pytest.mark.parametrize(("shape", "kernel"), [((1, 3, 8, 8), (16, 3, 3, 3)), ((1, 16, 8, 8), (16, 16, 1, 1))])
def test_what_does_not_suit_is_left_to_the_plain_version(shape, kernel):
    x, w = torch.randn(shape), torch.randn(kernel)
    assert not winograd.suits(x, w)
    assert not winograd.suits(torch.randn(1, 16, 8, 8, dtype=torch.bfloat16), torch.randn(16, 16, 3, 3))
    assert not winograd.suits(torch.randn(1, 16, 7, 8), torch.randn(16, 16, 3, 3), FIR, 1, 2)
    assert not winograd.suits(torch.randn(1, 16, 8, 8), torch.randn(16, 16, 3, 3), None, 1, 2)


def test_what_is_too_small_is_left_to_the_plain_version(monkeypatch):
    monkeypatch.undo()
    w = torch.randn(64, 64, 3, 3)
    assert winograd.suits(torch.randn(16, 64, 32, 32), w)
    assert winograd.suits(torch.randn(16, 64, 32, 32), w, FIR, 2)
    assert not winograd.suits(torch.randn(16, 64, 16, 16), w, FIR, 2)
    assert not winograd.suits(torch.randn(1, 64, 16, 16), w)
    assert not winograd.suits(torch.randn(16, 64, 32, 32, dtype=DOUBLE), w.double())


@pytest.mark.parametrize("clamp", [None, 0.9])
@pytest.mark.parametrize("noise", [(5, 6), (2, 1, 5, 6), None])
def test_activation_and_its_derivatives_are_the_plain_ones(clamp, noise):
    x, scale, bias = draw(2, 8, 5, 6), draw(2, 8, seed=1), draw(8, seed=2)
    noise = None if noise is None else draw(*noise, seed=3)
    leaves = [t for t in (x, scale, noise, bias) if t is not None]

    def plain():
        y = x * scale[:, :, None, None] + (0 if noise is None else noise) + bias[:, None, None]
        y = torch.nn.functional.leaky_relu(y, 0.2)
        return y if clamp is None else y.clamp(-clamp, clamp)

    def run(y):
        weights = torch.randn(y.shape, dtype=DOUBLE, generator=torch.Generator().manual_seed(9))
        slope = torch.autograd.grad((y.square() * weights).sum(), leaves, create_graph=True)
        bend = torch.autograd.grad(sum(t.square().sum() for t in slope), leaves)
        once = torch.autograd.grad((activation_or_plain() * weights).sum(), leaves)
        return y, *slope, *bend, *once

    activation_or_plain = plain
    wanted = run(plain())
    activation_or_plain = lambda: activation.activate(x, scale, noise, bias, 0.2, clamp)  # noqa: E731
    for mine, theirs in zip(run(activation_or_plain()), wanted, strict=True):
        assert (mine - theirs).abs().max() <= 1e-10 * theirs.abs().max()


def test_activation_has_first_and_second_derivatives():
    given = (draw(2, 4, 3, 3), draw(2, 4, seed=1), draw(3, 3, seed=2), draw(4, seed=3))
    assert torch.autograd.gradcheck(lambda *t: activation.activate(*t, 0.2, 1.0), given)
    assert torch.autograd.gradgradcheck(lambda *t: activation.activate(*t, 0.2, 1.0), given)


@pytest.mark.parametrize("clamp", [None, 0.9])
@pytest.mark.parametrize(
    ("down", "shape", "out"),
    [
        (1, (2, 8, 10, 12), 8),
        (1, (2, 8, 64, 68), 16),  # so many tiles that they are summed in parts
        (2, (2, 24, 12, 16), 72),  # so many channels that the gradient is made in blocks, the last ones narrow
    ],
)
def test_a_layer_of_the_discriminator_goes_back_as_the_plain_one(down, shape, out, clamp, plainly):
    """The backward pass that will not be differentiated itself, and that which will."""
    leaves = draw(*shape), draw(out, shape[1], 3, 3, seed=1), draw(out, seed=2)
    assert winograd.suits(*leaves[:2], FIR, 1, down)

    def run():
        y = ops.conv2d_lrelu(*leaves, FIR, down, 1, clamp)
        slope = draw(*y.shape, seed=3).detach()
        once = torch.autograd.grad(y, leaves, slope, retain_graph=True)
        again = torch.autograd.grad(y, leaves, slope, create_graph=True)
        return y, *once, *again, *torch.autograd.grad(sum(t.square().sum() for t in again), leaves[:2])

    for mine, plain in zip(run(), plainly(run), strict=True):
        assert (mine - plain).abs().max() <= 1e-10 * plain.abs().max()


@pytest.mark.parametrize("up", [1, 2])
@pytest.mark.parametrize("noise", [(10, 8), (2, 1, 10, 8), None])
def test_a_layer_in_one_pass_is_the_layer_in_steps(up, noise):
    side = (10 // up, 8 // up)
    x, w, styles, bias = draw(2, 16, *side), draw(8, 16, 3, 3, seed=1), draw(2, 16, seed=2), draw(8, seed=3)
    noise = None if noise is None else draw(*noise, seed=4)
    steps = ops.modulated_lrelu(x, w, styles, noise, bias, up, FIR, clamp=1.5)
    assert steps.requires_grad
    with torch.no_grad():
        once = ops.modulated_lrelu(x, w, styles, noise, bias, up, FIR, clamp=1.5)
    assert (once - steps).abs().max() < 1e-10


@pytest.mark.parametrize("phases", winograd.MODES.values())
def test_the_number_of_threads_changes_no_bit(phases):
    native = operators(torch.device("cpu"))
    rng = torch.Generator().manual_seed(0)
    x = torch.randn(3, 16, 48, 88, generator=rng).contiguous(memory_format=torch.channels_last)
    w = torch.randn(max(phases), 3, 3, 16, 32, generator=rng)
    scale, bias = torch.randn(3, 32, generator=rng), torch.randn(32, generator=rng)
    threads, found = torch.get_num_threads(), []
    try:
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            y = native.conv(x, w, *phases, None, None, None, None, 1.0, 9.0)
            z = native.activate(y, scale, None, bias, 0.2, 9.0)
            back = native.activate_backward(z, z, y, scale, 0.2, 9.0, True, True, True)
            found.append((y, z, *back, native.conv_weight(x, y, *phases)))
    finally:
        torch.set_num_threads(threads)
    for other in found[1:]:
        assert all(torch.equal(a, c) for a, c in zip(found[0], other, strict=True))


@pytest.mark.parametrize("channels", [3, 8, 44])
@pytest.mark.parametrize(
    ("up", "down", "pad", "size"), [((2, 1), (1, 1), (2, 0), (12, 5)), ((1, 1), (2, 2), (1, -1), (3, 2))]
)
def test_resampling_has_first_and_second_derivatives(channels, up, down, pad, size):
    x, f = draw(1, channels, 6, 6), draw(4, 3, seed=1).detach()

    def run(x):
        return resample.resample(x, f, up, down, pad, size)

    assert torch.autograd.gradcheck(run, (x,), fast_mode=True)
    assert torch.autograd.gradgradcheck(run, (x,), fast_mode=True)


def test_filters_that_downsample_are_the_plain_ones(plainly, monkeypatch):
    monkeypatch.setattr(resample, "LEAST_VALUES", 0)
    x = draw(2, 8, 12, 10, dtype=torch.float32)
    f = FIR.float()
    assert resample.suits(x, (1, 1), (2, 2))
    assert not resample.suits(x, (2, 2), (1, 1))
    assert not resample.suits(x.double(), (1, 1), (2, 2))

    def run():
        y = ops.downsample2d(x, f, padding=[1, 0, 2, 0])
        (slope,) = torch.autograd.grad(y.square().sum(), x, create_graph=True)
        return y, slope, *torch.autograd.grad(slope.square().sum(), x)

    for mine, plain in zip(run(), plainly(run), strict=True):
        assert (mine - plain).abs().max() <= 1e-5 * plain.abs().max()


def test_an_operator_refuses_what_it_cannot_do():
    native = operators(torch.device("cpu"))
    x = torch.randn(1, 16, 8, 8).contiguous(memory_format=torch.channels_last)
    w, nothing = torch.randn(1, 3, 3, 16, 16), (None, None, None, None, 1.0, 1.0)
    for bad_x, bad_w, phases in (
        (x.contiguous(), w, (1, 1)),
        (x, w[..., :8].contiguous(), (1, 1)),
        (x, w, (1, 4)),
        (x, w.double(), (1, 1)),
        (x[:, :, :7].contiguous(memory_format=torch.channels_last), torch.randn(4, 3, 3, 16, 16), (4, 1)),
    ):
        with pytest.raises(RuntimeError):
            native.conv(bad_x, bad_w, *phases, *nothing)


def test_a_whole_training_step_is_the_plain_one(plainly):
    """Networks, losses, R1 and path length, in float64, where nothing but a mistake can show."""
    torch.manual_seed(0)
    G = Generator(GeneratorArchitecture(16, 0, 16, 16, 3, 2, (16, 16, 16))).double()
    D = Discriminator(DiscriminatorArchitecture(0, 16, 3, (16, 16, 16))).double()
    with torch.no_grad():
        for name, parameter in G.named_parameters():
            if name.endswith("noise_strength"):
                parameter.fill_(0.3)
    real, z = (torch.randn(shape, dtype=DOUBLE) for shape in ((4, 3, 16, 16), (4, 16)))

    def step():
        noise = torch.Generator().manual_seed(3)
        mean = torch.zeros([], dtype=DOUBLE)
        losses = Losses(G, D, lambda x: x, noise, 1.0, style_mixing=0.0, noise_mode="const", pl_mean=mean)
        parts = [losses.generator(z), losses.path_length(z), *losses.discriminator(z, real)[:2], losses.r1(real)[0]]
        for network in (G, D):
            network.zero_grad()
        sum(part.mean() for part in parts).backward()
        gradients = [p.grad.clone() for network in (G, D) for p in network.parameters() if p.grad is not None]
        return [*parts, *gradients]

    mine = step()
    assert len(mine) > 60
    for a, b in zip(mine, plainly(step), strict=True):
        assert (a - b).abs().max() <= 1e-9 * b.abs().max().clamp(min=1e-3)


def test_training_that_goes_on_ends_in_the_same_bytes(tiny_dataset, tmp_path, monkeypatch):
    monkeypatch.setattr(resample, "LEAST_VALUES", 0)
    calls = []
    conv = winograd.conv_lrelu
    monkeypatch.setattr(winograd, "conv_lrelu", lambda *given: (calls.append(1), conv(*given))[1])
    settings = TrainSettings(kimg=0.032, batch=4, channel_base=256, channel_max=16, latent=8, snapshot_kimg=0.016)
    train(tiny_dataset, tmp_path / "once", settings, 3, log=lambda line: None)
    train(tiny_dataset, tmp_path / "twice", dataclasses.replace(settings, kimg=0.016), 3, log=lambda line: None)
    train(tiny_dataset, tmp_path / "twice", settings, 3, log=lambda line: None)
    assert calls
    for name in ("training-state.safetensors", "generator.safetensors", "discriminator.safetensors"):
        assert (tmp_path / "once" / name).read_bytes() == (tmp_path / "twice" / name).read_bytes(), name


def test_the_record_says_whether_native_operators_ran(tiny_dataset, tmp_path, plainly):
    settings = TrainSettings(kimg=0.008, batch=4, channel_base=256, channel_max=16, latent=8, snapshot_kimg=0.008)

    def record(folder):
        stage, work = train_stage(tiny_dataset, settings, 3, "cpu", folder, log=lambda line: None)
        run_stage(stage, work, log=lambda line: None)
        return json.loads((folder / "stage.json").read_text())

    native, plain = record(tmp_path / "native"), plainly(lambda: record(tmp_path / "plain"))
    assert native["measured"] == {"native_operators": True}
    assert plain["measured"] == {"native_operators": False}
    assert native["key"] == plain["key"]
