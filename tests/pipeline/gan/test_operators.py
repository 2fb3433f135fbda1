"""Operators by their properties: derivatives, and the definition of modulated convolution."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.gan import ops
from pipeline.gan.convolution import conv2d, conv_transpose2d

DOUBLE = torch.float64
FIR = ops.setup_filter([1, 3, 3, 1]).to(DOUBLE)


def draw(*shape, seed=0):
    numbers = torch.randn(shape, dtype=DOUBLE, generator=torch.Generator().manual_seed(seed))
    return numbers.requires_grad_()


@pytest.mark.parametrize(
    ("stride", "padding", "groups", "side"), [((1, 1), (1, 1), 1, 3), ((2, 1), (0, 1), 1, 4), ((2, 2), (1, 0), 2, 5)]
)
def test_convolution_has_first_and_second_derivatives(stride, padding, groups, side):
    x, w = draw(2, 2, side, side), draw(2, 2 // groups, 3, 3, seed=1)

    def convolve(x, w):
        return conv2d(x, w, stride, padding, groups)

    assert torch.allclose(convolve(x, w), F.conv2d(x, w, stride=stride, padding=padding, groups=groups))
    assert torch.autograd.gradcheck(convolve, (x, w))
    assert torch.autograd.gradgradcheck(convolve, (x, w))


@pytest.mark.parametrize(("stride", "padding", "groups"), [((2, 2), (0, 0), 1), ((2, 1), (1, 0), 2)])
def test_transposed_convolution_has_first_and_second_derivatives(stride, padding, groups):
    x, w = draw(2, 2, 3, 2), draw(2, 2, 3, 3, seed=1)

    def spread(x, w):
        return conv_transpose2d(x, w, stride, padding, groups)

    assert torch.allclose(spread(x, w), F.conv_transpose2d(x, w, stride=stride, padding=padding, groups=groups))
    assert torch.autograd.gradcheck(spread, (x, w))
    assert torch.autograd.gradgradcheck(spread, (x, w))


@pytest.mark.parametrize(
    "options", [{"up": 2, "padding": [2, 1, 2, 1]}, {"down": 2, "padding": 1}, {"padding": [-1, 3, 2, 0]}]
)
def test_filter_has_second_derivatives(options):
    assert torch.autograd.gradgradcheck(lambda x: ops.upfirdn2d(x, FIR, **options), (draw(1, 2, 5, 4),))


@pytest.mark.parametrize(("kernel", "up"), [(3, 1), (3, 2), (1, 1)])
def test_modulated_convolution_has_second_derivatives(kernel, up):
    def convolve(x, w, styles):
        return ops.modulated_conv2d(x, w, styles, up=up, padding=kernel // 2, resample_filter=FIR, flip_weight=up == 1)

    given = (draw(2, 2, 3, 3), draw(2, 2, kernel, kernel, seed=1), draw(2, 2, seed=2))
    assert torch.autograd.gradgradcheck(convolve, given)


def test_activation_has_second_derivatives():
    def activate(x, b):
        return ops.bias_lrelu_(x * 1.0, b, clamp=0.9)

    assert torch.autograd.gradgradcheck(activate, (draw(2, 3, 2, 2), draw(3, seed=1)))


@settings(max_examples=25)
@given(
    n=st.integers(1, 4),
    inputs=st.integers(1, 5),
    outputs=st.integers(1, 5),
    side=st.integers(2, 6),
    kernel=st.sampled_from([1, 3]),
    demodulate=st.booleans(),
    seed=st.integers(0, 2**16),
)
def test_modulated_convolution_is_a_kernel_per_sample(n, inputs, outputs, side, kernel, demodulate, seed):
    x, w, s = (
        draw(n, inputs, side, side, seed=seed),
        draw(outputs, inputs, kernel, kernel, seed=seed + 1),
        draw(n, inputs),
    )
    kernels = w * s[:, None, :, None, None]  # [N, out, in, k, k]
    if demodulate:
        kernels = kernels / (kernels.square().sum([2, 3, 4], keepdim=True) + 1e-8).sqrt()
    grouped = F.conv2d(x.reshape(1, -1, side, side), kernels.flatten(0, 1), padding=kernel // 2, groups=n)
    mine = ops.modulated_conv2d(x, w, s, padding=kernel // 2, demodulate=demodulate)
    assert torch.allclose(mine, grouped.view_as(mine), atol=1e-10)


@settings(max_examples=25)
@given(gain=st.floats(0.1, 4), seed=st.integers(0, 2**16))
def test_gain_moves_through_the_activation(gain, seed):
    x, b = draw(2, 3, 4, 4, seed=seed).detach(), draw(3, seed=seed + 1).detach()
    assert torch.allclose(ops.bias_lrelu_(x * gain, b * gain), ops.bias_act(x, b, "lrelu", gain=gain))
