"""Encoders of any size, and what the stages of progressive training mean."""

import dataclasses

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from atlas.errors import InputError
from pipeline.inversion.encoders.architecture import EncoderArchitecture
from pipeline.inversion.encoders.networks import build, level_of


def narrow(method="e4e", progressive=True, num_ws=8, w_dim=16, size=32) -> EncoderArchitecture:
    heads = "pyramid" if method == "e4e" else "simple"
    return EncoderArchitecture(
        method, "narrow", heads, progressive, num_ws, w_dim, size, 5 if method == "restyle" else 1
    )


@settings(max_examples=25, deadline=None)
@given(
    method=st.sampled_from(["e4e", "restyle"]),
    progressive=st.booleans(),
    level=st.integers(2, 6),
    w_dim=st.sampled_from([1, 8, 48, 512]),
)
def test_narrow_encoders_fit_any_generator(method, progressive, level, w_dim):
    arch = narrow(method, progressive, 2 * (level - 1), w_dim, 2**level)
    network = build(arch).eval()
    assert network(torch.zeros(2, arch.in_channels, arch.size, arch.size)).shape == (2, arch.num_ws, w_dim)


@settings(deadline=None)
@given(stage=st.integers(0, 9))
def test_a_stage_leaves_later_styles_equal_to_the_first(stage):
    torch.manual_seed(0)
    network = build(narrow()).eval()
    x = torch.randn(2, 3, 32, 32)
    codes, complete = network(x, stage), network(x)
    last = min(stage, 7)
    assert torch.equal(codes[:, : last + 1], complete[:, : last + 1])
    for later in range(last + 1, 8):
        assert torch.equal(codes[:, later], codes[:, 0])
    assert not torch.equal(complete[:, 1], complete[:, 0])


def test_without_progression_a_stage_means_nothing():
    network = build(narrow("restyle", progressive=False)).eval()
    x = torch.randn(1, 6, 32, 32)
    assert torch.equal(network(x, 0), network(x))


def test_styles_are_read_from_three_levels():
    assert [level_of(i) for i in range(10)] == [0, 0, 0, 1, 1, 1, 1, 2, 2, 2]


@pytest.mark.parametrize(("size", "num_ws"), [(32, 8), (64, 10)])
@pytest.mark.parametrize("method", ["e4e", "restyle"])
def test_narrow_encoders_of_small_generators_are_small(size, num_ws, method):
    network = build(narrow(method, True, num_ws, 64, size))
    assert sum(p.numel() for p in network.parameters()) < 1_500_000


@pytest.mark.parametrize(
    "wrong",
    [
        {"method": "psp"},
        {"backbone": "vgg"},
        {"backbone": "resnet34"},  # has no pyramid
        {"size": 48},
        {"num_ws": 0},
        {"iterations": 2},  # of e4e
    ],
)
def test_an_architecture_that_cannot_be_is_refused(wrong):
    good = dataclasses.asdict(narrow())
    with pytest.raises(InputError):
        EncoderArchitecture(**{**good, **wrong})


def test_ir_se50_with_simple_heads_as_restyle_has_it_for_faces():
    arch = EncoderArchitecture("restyle", "ir-se50", "simple", False, 2, 512, 256, 5)
    shapes = {name: t.shape for name, t in build(arch).state_dict().items()}
    assert EncoderArchitecture.infer(shapes, False, 5, "") == arch
