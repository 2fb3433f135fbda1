"""Encoder4Editing against codes recorded from the official implementation."""

import pytest
import torch

from pipeline.inversion.encoders.architecture import EncoderArchitecture
from pipeline.inversion.encoders.networks import build

ARCHITECTURE = EncoderArchitecture("e4e", "ir-se50", "pyramid", True, 8, 512, 256)


@pytest.fixture(scope="module")
def network(encoder_recording):
    """The recorded encoder; the features of the last image are kept, so that three stages cost one pass."""
    network = build(ARCHITECTURE)
    network.load_state_dict(encoder_recording("e4e_encoder").weights())
    return network.eval().requires_grad_(False)


def test_names_and_shapes_are_the_published_ones(network, encoder_recording):
    recorded = encoder_recording("e4e_encoder")
    assert {n: list(t.shape) for n, t in network.state_dict().items()} == {n: s for n, (s, _) in recorded.names.items()}
    assert sum(p.numel() for p in network.parameters()) == recorded.entry["n_params"]
    assert EncoderArchitecture.infer({n: t.shape for n, t in network.state_dict().items()}, True, 5, "") == ARCHITECTURE


def test_weights_follow_the_rule(network, encoder_recording):
    state = network.state_dict()
    for name, probe in encoder_recording("e4e_encoder").entry["probe_values"].items():
        assert state[name].flatten()[:4].tolist() == probe["first4"]
        assert state[name].double().sum().item() == pytest.approx(probe["sum"], rel=1e-5, abs=1e-4)


def test_codes_at_every_stage(network, encoder_recording, recorded_input, monkeypatch):
    recorded = encoder_recording("e4e_encoder")
    x = recorded_input[:, :3]
    maps = network.maps(x)
    monkeypatch.setattr(network, "maps", lambda _: maps)
    for name, stage in (("inference", None), ("0", 0), ("3", 3)):
        recorded.check(f"out.stage_{name}", network(x, stage))


def test_the_tolerance_would_see_a_mistake(network, encoder_recording, recorded_input, monkeypatch):
    recorded = encoder_recording("e4e_encoder")
    monkeypatch.setattr(network, "maps", lambda _: (torch.zeros(1, 512, 16, 16), None, None))
    with pytest.raises(AssertionError, match="is off by"):
        recorded.check("out.stage_0", network(recorded_input[:, :3], 0))
