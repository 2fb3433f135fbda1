"""Operators against tensors recorded from the official implementation."""

import json
from pathlib import Path

import pytest
import torch

from pipeline.gan import ops

CASES = next(
    entry["config"]["cases"]
    for entry in json.loads((Path(__file__).resolve().parents[2] / "parity" / "gan.json").read_text())["fixtures"]
    if entry["kind"] == "ops"
)


def run(op, case, x, given):
    """Run a case as it is described; ``given`` looks up a recorded input."""
    if op == "upfirdn2d":
        return ops.upfirdn2d(x, given("f"), **{k: v for k, v in case.items() if k != "f"})
    if op == "wrappers":
        return getattr(ops, case["fn"])(x, given("f"), **case["kw"])
    if op == "bias_act":
        return ops.bias_act(x, given("b"), **{k: v for k, v in case.items() if k not in ("bias", "ndim")})
    if op == "conv2d_resample":
        options = {k: v for k, v in case.items() if k not in ("k", "f")}
        return ops.conv2d_resample(x, given("w"), given("f"), **options)
    options = {k: case[k] for k in ("demodulate", "up", "padding", "flip_weight")}
    return ops.modulated_conv2d(x, given("w"), given("styles"), given("noise"), resample_filter=given("f"), **options)


@pytest.mark.parametrize(("op", "index"), [(op, i) for op, cases in CASES.items() for i in range(len(cases))])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_operator(op, index, layout, recording, device):
    recorded = recording("ops").on(device)
    x = recorded.tensors[f"in.{op}.{index}.x"]
    x = x.contiguous(memory_format=layout) if x.ndim == 4 else x
    before = x.clone()
    result = run(op, CASES[op][index], x, lambda name: recorded.tensors.get(f"in.{op}.{index}.{name}"))
    recorded.check(f"out.{op}.{index}", result)
    assert torch.equal(x, before), "an operator may not write over its input"


@pytest.mark.parametrize("index", range(len(CASES["upfirdn2d"])))
def test_filters_are_prepared_alike(index, recording):
    taps = CASES["upfirdn2d"][index]["f"]
    if taps is None:
        assert torch.equal(ops.setup_filter(None), torch.ones(1, 1))
    else:
        prepared = recording("ops").tensors[f"in.upfirdn2d.{index}.f"]
        assert torch.allclose(ops.setup_filter(taps), prepared, atol=1e-7)
        assert ops.setup_filter(taps).shape == prepared.shape
