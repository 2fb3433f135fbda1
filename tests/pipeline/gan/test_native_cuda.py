"""The operators for GPUs against plain PyTorch, where there is a GPU: values, first and second derivatives."""

import pytest
import torch
import torch.nn.functional as F

from pipeline.gan import activation, ops, resample
from pipeline.gan.native import loader

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU on this machine"),
]
LAYOUTS = [torch.contiguous_format, torch.channels_last]


@pytest.fixture(autouse=True)
def native(monkeypatch):
    monkeypatch.setenv(loader.SWITCH, "1")
    loader._operators.cache_clear()
    if loader.operators(torch.device("cuda")) is None:
        pytest.skip("no nvcc on this machine")
    yield
    loader._operators.cache_clear()


def draw(*shape, layout=torch.contiguous_format, seed=0):
    numbers = torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    numbers = numbers.contiguous(memory_format=layout) if len(shape) == 4 else numbers
    return numbers.cuda().requires_grad_()


@pytest.mark.parametrize("layout", LAYOUTS)
def test_activation(layout):
    x, scale, bias = draw(2, 6, 5, 4, layout=layout), draw(2, 6, seed=1), draw(6, seed=2)
    noise = draw(5, 4, seed=3)
    assert activation.suits(x)
    mine = activation.activate(x, scale, noise, bias, 0.2, 1.5)
    plain = F.leaky_relu(x * scale[:, :, None, None] + noise + bias[:, None, None], 0.2).clamp(-1.5, 1.5)
    assert torch.allclose(mine, plain)
    assert torch.autograd.gradcheck(lambda *t: activation.activate(*t, 0.2, 1.5), (x, scale, noise, bias))
    assert torch.autograd.gradgradcheck(lambda *t: activation.activate(*t, 0.2, 1.5), (x, scale, noise, bias))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("options", [{"up": 2, "padding": [2, 1, 2, 1]}, {"down": 2, "padding": 1}])
def test_resampling(layout, options, monkeypatch):
    x, f = draw(1, 3, 6, 5, layout=layout), ops.setup_filter([1, 2, 5, 3]).double().cuda()

    def run(x):
        return ops.upfirdn2d(x, f, **options)

    mine = run(x)
    assert torch.autograd.gradcheck(run, (x,))
    assert torch.autograd.gradgradcheck(run, (x,))
    monkeypatch.setattr(resample, "operators", lambda device: None)
    assert torch.allclose(mine, run(x))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_reduced_precision(dtype):
    x = draw(2, 8, 6, 6).detach()
    reduced = activation.activate(x.to(dtype), slope=0.2)
    assert reduced.dtype == dtype
    assert (reduced.double() - activation.activate(x, slope=0.2)).abs().max() < 0.03
