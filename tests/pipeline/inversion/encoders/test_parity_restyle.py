"""ReStyle's encoders and its refinement against codes and images recorded from the official implementation."""

import dataclasses
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from pipeline.gan.rosinality import kernel
from pipeline.inversion import load_encoder
from pipeline.inversion.encoders.architecture import EncoderArchitecture
from pipeline.inversion.encoders.networks import build

PSP = EncoderArchitecture("restyle", "resnet34", "simple", False, 8, 512, 256, 5)
E4E_STYLE = dataclasses.replace(PSP, progressive=True)
PARITY = Path(__file__).resolve().parents[3] / "parity"


@pytest.fixture(scope="module")
def network(encoder_recording):
    network = build(PSP)
    network.load_state_dict(encoder_recording("restyle_resnet_encoder").weights())
    return network.eval().requires_grad_(False)


def test_names_and_shapes_are_the_published_ones(network, encoder_recording):
    recorded = encoder_recording("restyle_resnet_encoder")
    shapes = {n: list(t.shape) for n, t in network.state_dict().items()}
    assert shapes == {n: s for n, (s, _) in recorded.names.items()}
    assert EncoderArchitecture.infer(shapes, False, 5, "") == PSP


def test_codes_of_both_variants(network, encoder_recording, recorded_input, monkeypatch):
    maps = network.maps(recorded_input)
    monkeypatch.setattr(network, "maps", lambda _: maps)
    encoder_recording("restyle_resnet_encoder").check("out.codes", network(recorded_input))
    progressive = encoder_recording("restyle_resnet_progressive_encoder")
    monkeypatch.setattr(network, "architecture", E4E_STYLE)
    for name, stage in (("inference", None), ("0", 0), ("3", 3)):
        progressive.check(f"out.stage_{name}", network(recorded_input, stage))


def test_a_published_file_refines_with_its_own_decoder(network, encoder_recording, recorded_input, rule, tmp_path):
    """The recorded loop, from a file as published: its encoder, and its decoder of 16 px by rosinality's names."""
    recorded, path = encoder_recording("restyle_loop"), tmp_path / "restyle.pt"
    state = {f"encoder.{n}": t for n, t in network.state_dict().items() if not n.startswith(("styles.6", "styles.7"))}
    state |= {f"decoder.{name}": tensor for name, tensor in recorded.weights("decoder.").items()}
    fixed = [name for name, (_, kind) in recorded.names.items() if kind == "keep"]
    state |= {f"decoder.{name}": kernel(4.0) for name in fixed}
    options = {"encoder_type": "ResNetBackboneEncoder", "n_iters_per_batch": 3, "output_size": 16, "device": "cuda:0"}
    average = 0.3 * rule("latent_avg", [6, 512], "normal")
    torch.save({"state_dict": state, "opts": options, "latent_avg": average[0]}, path)
    encoder = load_encoder(path)
    path.unlink()  # nearly 400 MB
    assert encoder.architecture == dataclasses.replace(PSP, num_ws=6, iterations=3)
    assert encoder.generator is not None
    assert encoder.generator.img_resolution == 16
    assert torch.equal(encoder.latent_avg, average[:1].expand(6, 512))
    encoder.latent_avg.copy_(average)  # the recording has a mean per layer, which a published file never has
    recorded.check("out.avg_image", encoder.average_image()[0, :, ::16, ::16])
    for i, codes in enumerate(encoder.passes(recorded_input[:, :3])):
        recorded.check(f"out.iter{i}.codes", codes[0])
        recorded.check(f"out.iter{i}.image", encoder.generator.synthesis(codes, noise_mode="const")[0])


def test_the_input_s_formula_gives_what_was_recorded(recorded_input):
    """Every sixteenth row and column of the recorded input; a float32's rounding is allowed."""
    recorded = load_file(PARITY / "encoder_input.safetensors")["in.x6_every_16th"]
    assert (recorded_input[:, :, ::16, ::16] - recorded).abs().max() < 1e-6
