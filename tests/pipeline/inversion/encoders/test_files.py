"""Encoders as files: ours there and back, the published ones as data."""

import os

import pytest
import torch
from safetensors.torch import load_file, save_file

from atlas.errors import InputError
from pipeline.inversion import load_encoder, save_encoder
from pipeline.inversion.encoders.architecture import EncoderArchitecture
from pipeline.inversion.encoders.encoder import Encoder
from pipeline.inversion.encoders.files import read_facts
from pipeline.inversion.encoders.networks import build


@pytest.fixture
def made(tiny_generator):
    """Makes a narrow encoder for the tiny generator, with norms that have seen something."""

    def make(method: str = "e4e") -> Encoder:
        torch.manual_seed(2)
        arch = EncoderArchitecture.made_for(method, "narrow", "e4e", 6, 8, 16, 3)
        encoder = Encoder(arch, torch.randn(8), tiny_generator if method == "restyle" else None).train()
        encoder.network(torch.randn(4, arch.in_channels, 16, 16))
        return encoder.eval().requires_grad_(False)

    return make


@pytest.mark.parametrize("method", ["e4e", "restyle"])
def test_there_and_back(method, made, tiny_generator, tmp_path):
    encoder, path = made(method), tmp_path / "encoder.safetensors"
    save_encoder(encoder, path, {"seed": 3})
    again = load_encoder(path, generator=tiny_generator)
    images = torch.randn(2, 3, 16, 16)
    assert torch.equal(again(images), encoder(images))
    assert again.architecture == encoder.architecture
    assert not any(p.requires_grad for p in again.parameters())
    assert not again.training
    assert read_facts(path)["seed"] == 3
    save_encoder(again, tmp_path / "again.safetensors", {"seed": 3})
    assert (tmp_path / "again.safetensors").read_bytes() == path.read_bytes()


def test_the_stage_that_training_reached_stands_in_the_file_unless_it_is_the_last(made, tmp_path):
    encoder, path, images = made(), tmp_path / "encoder.safetensors", torch.randn(2, 3, 16, 16)
    save_encoder(encoder, path)
    assert "stage" not in read_facts(path)  # as in files from before there was such a fact
    assert load_encoder(path).stage == encoder.architecture.last_stage
    encoder.stage = 1
    save_encoder(encoder, path)
    assert read_facts(path)["stage"] == 1
    assert torch.equal(load_encoder(path)(images), encoder(images))


def test_half_is_half_as_large_and_nearly_the_same(made, tmp_path):
    encoder = made()
    for half in (False, True):
        save_encoder(encoder, tmp_path / f"{half}.safetensors", half=half)
    sizes = {half: (tmp_path / f"{half}.safetensors").stat().st_size for half in (False, True)}
    assert sizes[True] < 0.55 * sizes[False]
    assert sizes[True] < 3_000_000
    images = torch.randn(2, 3, 16, 16)
    codes = load_encoder(tmp_path / "True.safetensors")(images)
    assert codes.dtype == torch.float32
    assert (codes - encoder(images)).abs().max() < 5e-3 * encoder(images).std()


def test_restyle_without_its_generator_is_refused(made, tmp_path):
    save_encoder(made("restyle"), tmp_path / "restyle.safetensors")
    with pytest.raises(InputError, match=r"restyle\.safetensors is a ReStyle encoder.*give its generator"):
        load_encoder(tmp_path / "restyle.safetensors")


def test_another_generator_is_refused(made, official_generator, tmp_path):
    save_encoder(made("restyle"), tmp_path / "restyle.safetensors")
    with pytest.raises(InputError, match="6 styles of 8 numbers, the generator takes 8 of 64"):
        load_encoder(tmp_path / "restyle.safetensors", generator=official_generator)


def _changed(path, change):
    tensors = load_file(path)
    from safetensors import safe_open

    with safe_open(path, "pt") as file:
        metadata = file.metadata()
    change(tensors, metadata)
    save_file(tensors, path, metadata)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t, m: t.pop("encoder.stem.0.weight"), "stem.0.weight is missing"),
        (lambda t, m: t.update({"encoder.more": torch.zeros(1)}), "more is unexpected"),
        (lambda t, m: t.update({"encoder.stem.0.weight": torch.zeros(1)}), r"stem.0.weight must be \[.*\], got \[1\]"),
        (lambda t, m: t["encoder.stem.1.bias"].fill_(float("nan")), "stem.1.bias is not finite"),
        (lambda t, m: t.pop("latent_avg"), "latent_avg is missing"),
        (lambda t, m: t.update({"latent_avg": torch.zeros(3)}), r"latent_avg must be \[6, 8\]"),
        (lambda t, m: m.clear(), "not an encoder"),
        (lambda t, m: m.update(encoder='{"format": 99}'), "format 99"),
        (lambda t, m: m.update(encoder=m["encoder"].replace("narrow", "broad")), "architecture cannot be read"),
        (lambda t, m: m.update(encoder=m["encoder"][:-1] + ', "stage": 6}'), "stage must be 0 … 5, got 6"),
        (lambda t, m: m.update(encoder=m["encoder"][:-1] + ', "stage": "all"}'), "stage must be 0 … 5, got 'all'"),
    ],
)
def test_a_damaged_file_is_one_clear_line(change, message, made, tmp_path):
    path = tmp_path / "e4e.safetensors"
    save_encoder(made(), path)
    _changed(path, change)
    with pytest.raises(InputError, match=message):
        load_encoder(path)


@pytest.mark.parametrize("name", ["absent.safetensors", "absent.pt", "encoder.zip"])
def test_a_file_that_is_not_there_or_of_another_kind(name, tmp_path):
    with pytest.raises(InputError, match=name):
        load_encoder(tmp_path / name)


def published(arch: EncoderArchitecture, kind: str, average: torch.Tensor | None, **opts) -> dict:
    """A checkpoint in the published layout. Every tensor is one number, spread out, so that the file is small."""
    with torch.device("meta"):
        shapes = {name: (t.shape, t.dtype) for name, t in build(arch).state_dict().items()}
    state = {}
    for i, (name, (shape, dtype)) in enumerate(shapes.items()):
        value = 1.0 if name.endswith("running_var") else 0.02 + 0.0001 * (i % 7)
        state[f"encoder.{name}"] = torch.full((1,), value).to(dtype).expand(shape) if shape else torch.tensor(5)
    state["decoder.input.input"] = torch.zeros(1, 4, 4, 4)  # decoder tensors lie beside the encoder's
    content = {"state_dict": state, "opts": {"encoder_type": kind, "device": "cuda:0", **opts}}
    return content if average is None else {**content, "latent_avg": average}


E4E_4PX = EncoderArchitecture("e4e", "ir-se50", "pyramid", True, 2, 512, 256)
RESTYLE_4PX = EncoderArchitecture("restyle", "resnet34", "simple", True, 2, 512, 256, 4)


def test_a_published_e4e_file(tmp_path):
    path, average = tmp_path / "e4e.pt", torch.randn(2, 512)
    torch.save(published(E4E_4PX, "Encoder4Editing", average, start_from_latent_avg=True), path)
    encoder = load_encoder(path)
    assert encoder.architecture == E4E_4PX
    assert torch.equal(encoder.latent_avg, average)
    assert encoder.network.input_layer[0].weight.unique().numel() == 1
    content = published(E4E_4PX, "Encoder4Editing", None, start_from_latent_avg=True)
    torch.save(content, path)
    with pytest.raises(InputError, match="latent_avg, the mean code"):
        load_encoder(path)


def test_a_published_restyle_file(tmp_path):
    from pipeline.gan import Generator
    from pipeline.gan.architecture import GeneratorArchitecture

    generator = Generator(GeneratorArchitecture(4, 0, 512, 4, 3, 1, (4,))).eval()
    path, average = tmp_path / "restyle.pt", torch.randn(512)  # of one row, as where it was estimated
    kind = "ResNetProgressiveBackboneEncoder"
    torch.save(published(RESTYLE_4PX, kind, average, n_iters_per_batch=4), path)
    encoder = load_encoder(path, generator=generator)
    assert encoder.architecture == RESTYLE_4PX
    assert torch.equal(encoder.latent_avg, average.expand(2, 512))


class Payload:
    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.system, (f"touch {self.marker}",)


def test_a_payload_is_not_run(tmp_path):
    marker = tmp_path / "ran"
    torch.save({"state_dict": {}, "opts": {}, "latent_avg": Payload(marker)}, tmp_path / "e4e.pt")
    with pytest.raises(InputError, match="nothing in it was run"):
        load_encoder(tmp_path / "e4e.pt")
    assert not marker.exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"g_ema": {}}, "state_dict and opts"),
        ({"state_dict": {}, "opts": {"encoder_type": "Encoder4Editing"}}, "holds no encoder"),
        ({"state_dict": {}, "opts": {"encoder_type": "Other"}}, "encoder_type must be one of"),
    ],
)
def test_other_checkpoints_are_named(content, message, tmp_path):
    torch.save(content, tmp_path / "a.pt")
    with pytest.raises(InputError, match=message):
        load_encoder(tmp_path / "a.pt")
