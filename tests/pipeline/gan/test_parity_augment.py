"""The augmentation against tensors recorded from the official implementation."""

import pytest
import torch

from pipeline.gan.augment import AugmentSettings, augment

OPERATIONS = (
    "xflip",
    "rotate90",
    "xint",
    "scale",
    "rotate",
    "aniso",
    "xfrac",
    "brightness",
    "contrast",
    "lumaflip",
    "hue",
    "saturation",
)


class Quantile:
    """Every value is its distribution's quantile, every gate open: the official "debug_percentile"."""

    def __init__(self, q):
        self.q = q

    def uniform(self, op, n, columns):
        return torch.full([n, columns], 0.5 if op == "rotate_post" else self.q)

    def normal(self, op, n, columns):
        return torch.erfinv(torch.full([n, columns], 2 * self.q - 1))

    def gate(self, op, n, probability):
        return torch.ones([n, 1], dtype=torch.bool)


class Recorded:
    """The raw draws as they were recorded."""

    def __init__(self, tensors):
        self.tensors = tensors

    def uniform(self, op, n, columns):
        return self.tensors[f"in.draws.{op}.value.rand"].reshape(n, columns)

    def normal(self, op, n, columns):
        return self.tensors[f"in.draws.{op}.value.randn"].reshape(n, columns)

    def gate(self, op, n, probability):
        return self.tensors[f"in.draws.{op}.gate.rand"].reshape(n, 1) < probability


@pytest.mark.parametrize("percentile", [0.1, 0.35, 0.5, 0.8])
@pytest.mark.parametrize("what", ["bgc", *OPERATIONS])
def test_percentiles(what, percentile, recording, device):
    recorded = recording("augment_percentile").on(device)
    settings = AugmentSettings() if what == "bgc" else AugmentSettings(**{op: float(op == what) for op in OPERATIONS})
    names = [f"out.{what}.{size}.p{percentile}" for size in ("32", "64", "rect")]
    names = [name for name in names if name in recorded.tensors]
    assert names
    for name in names:
        images = recorded.tensors[f"in.img{name.split('.')[2]}"][: len(recorded.tensors[name])]
        recorded.check(name, augment(images, 1.0, settings, Quantile(percentile)))


def test_gradient(recording, device):
    recorded = recording("augment_percentile").on(device)
    images = recorded.tensors["in.img32"].clone().requires_grad_()
    result = augment(images, 1.0, AugmentSettings(), Quantile(0.35))
    (gradient,) = torch.autograd.grad((result * recorded.tensors["in.cotangent32"]).sum(), images)
    recorded.check("out.bgc.32.p0.35.grad", gradient)


def test_random_draws(recording, device):
    recorded = recording("augment_random").on(device)
    result = augment(
        recorded.tensors["in.img32"], recorded.entry["config"]["p"], AugmentSettings(), Recorded(recorded.tensors)
    )
    recorded.check("out.bgc.32.random", result)
