"""ReStyle's encoders and its refinement against codes and images recorded from the official implementation."""

import dataclasses

import pytest
from torch import nn

from pipeline.gan import Generator
from pipeline.gan.architecture import GeneratorArchitecture
from pipeline.inversion.encoders.architecture import EncoderArchitecture
from pipeline.inversion.encoders.encoder import Encoder
from pipeline.inversion.encoders.networks import build

PSP = EncoderArchitecture("restyle", "resnet34", "simple", False, 8, 512, 256, 5)
E4E_STYLE = dataclasses.replace(PSP, progressive=True)
LOOP = dataclasses.replace(PSP, num_ws=6, iterations=3)  # of a 16 px generator


@pytest.fixture(scope="module")
def network(encoder_recording):
    network = build(PSP)
    network.load_state_dict(encoder_recording("restyle_resnet_encoder").weights())
    return network.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def decoder(encoder_recording) -> Generator:
    """The recorded decoder, 16 px, its published names turned into the generator's."""
    theirs = encoder_recording("restyle_loop").weights("decoder.")
    G = Generator(GeneratorArchitecture(512, 0, 512, 16, 3, 8, (512, 512, 512)))
    ours = {f"mapping.fc{i}.{part}": theirs[f"style.{i + 1}.{part}"] for i in range(8) for part in ("weight", "bias")}
    ours["synthesis.b4.const"] = theirs["input.input"][0]
    layers = {"b4.conv1": ("conv1", 0)}
    for k, resolution in enumerate((8, 16)):
        layers[f"b{resolution}.conv0"] = (f"convs.{2 * k}", 2 * k + 1)
        layers[f"b{resolution}.conv1"] = (f"convs.{2 * k + 1}", 2 * k + 2)
    for mine, (their, noise) in layers.items():
        ours[f"synthesis.{mine}.weight"] = theirs[f"{their}.conv.weight"][0]
        ours[f"synthesis.{mine}.affine.weight"] = theirs[f"{their}.conv.modulation.weight"]
        ours[f"synthesis.{mine}.affine.bias"] = theirs[f"{their}.conv.modulation.bias"]
        ours[f"synthesis.{mine}.noise_strength"] = theirs[f"{their}.noise.weight"].reshape([])
        ours[f"synthesis.{mine}.bias"] = theirs[f"{their}.activate.bias"]
        ours[f"synthesis.{mine}.noise_const"] = theirs[f"noises.noise_{noise}"][0, 0]
    for mine, their in (("b4", "to_rgb1"), ("b8", "to_rgbs.0"), ("b16", "to_rgbs.1")):
        ours[f"synthesis.{mine}.torgb.weight"] = theirs[f"{their}.conv.weight"][0]
        ours[f"synthesis.{mine}.torgb.affine.weight"] = theirs[f"{their}.conv.modulation.weight"]
        ours[f"synthesis.{mine}.torgb.affine.bias"] = theirs[f"{their}.conv.modulation.bias"]
        ours[f"synthesis.{mine}.torgb.bias"] = theirs[f"{their}.bias"].flatten()
    rest = set(G.state_dict()) - set(ours)
    assert all(name.endswith(("resample_filter", "w_avg")) for name in rest), rest
    G.load_state_dict(ours, strict=False)
    return G.eval().requires_grad_(False)


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


def test_the_refinement(network, decoder, encoder_recording, recorded_input, rule, monkeypatch):
    recorded = encoder_recording("restyle_loop")
    average = 0.3 * rule("latent_avg", [6, 512], "normal")
    encoder = Encoder(LOOP, average, decoder).eval().requires_grad_(False)
    monkeypatch.setattr(network, "styles", nn.ModuleList(list(network.styles)[:6]))
    encoder.network = network
    recorded.check("out.avg_image", encoder.average_image()[0, :, ::16, ::16])
    for i, codes in enumerate(encoder.passes(recorded_input[:, :3])):
        recorded.check(f"out.iter{i}.codes", codes[0])
        recorded.check(f"out.iter{i}.image", decoder.synthesis(codes, noise_mode="const")[0])
