"""Encoders as files: ours there and back, the published ones as data."""

import hashlib
import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from atlas.errors import InputError
from pipeline.gan import Generator
from pipeline.gan.architecture import GeneratorArchitecture
from pipeline.gan.rosinality import rosinality_state
from pipeline.inversion import load_encoder, save_encoder
from pipeline.inversion.encoders.architecture import EncoderArchitecture
from pipeline.inversion.encoders.encoder import Encoder
from pipeline.inversion.encoders.files import _PUBLISHED, read_facts
from pipeline.inversion.encoders.networks import build

PARITY = Path(__file__).resolve().parents[3] / "parity"


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
    torch.save(published(E4E_4PX, "Encoder4Editing", None), path)
    assert load_encoder(path).latent_avg.abs().max() == 0  # codes that are relative to nothing


@pytest.mark.parametrize(
    ("arch", "kind", "opts"),
    [
        (E4E_4PX, "Encoder4Editing", {"start_from_latent_avg": True}),
        (RESTYLE_4PX, "ResNetProgressiveBackboneEncoder", {"n_iters_per_batch": 4}),
    ],
)
def test_a_mean_code_that_is_missing_is_estimated_by_seed(arch, kind, opts, tmp_path):
    torch.manual_seed(4)
    path, own = tmp_path / "a.pt", Generator(GeneratorArchitecture(512, 0, 512, 8, 3, 1, (4, 4))).eval()
    content = published(replace(arch, num_ws=4), kind, None, **opts)
    content["state_dict"].pop("decoder.input.input")
    torch.save(content, path)
    with pytest.raises(InputError, match=r"a\.pt"):
        load_encoder(path)  # neither a mean code nor what makes codes
    content["state_dict"] |= {f"decoder.{name}": t for name, t in rosinality_state(own).items()}
    torch.save(content, path)
    found = load_encoder(path).latent_avg
    z = torch.randn(20_000, 512, generator=torch.Generator().manual_seed(1))
    expected, spread = own.mapping(z)[:, 0].mean(0), own.mapping(z)[:, 0].std(0)
    assert (found[0] - expected).abs().max() < 0.05 * spread.max()
    assert found.abs().max() > 0.1 * spread.max()
    assert torch.equal(load_encoder(path).latent_avg, found)
    own.mapping.w_avg.fill_(0.5)
    assert (load_encoder(path, generator=own).latent_avg == 0.5).all()  # the one that is given, as it says itself


@pytest.mark.parametrize("iterations", [2.5, "5", True, 0, -1, None])
def test_passes_that_are_no_number_are_named(iterations, tmp_path):
    kind = "ResNetProgressiveBackboneEncoder"
    torch.save(published(RESTYLE_4PX, kind, torch.zeros(512), n_iters_per_batch=iterations), tmp_path / "a.pt")
    with pytest.raises(InputError, match=r"a\.pt: n_iters_per_batch must be a whole number from 1 up, got"):
        load_encoder(tmp_path / "a.pt")


@pytest.mark.parametrize(
    ("layout", "arch", "kind", "opts_of"),
    [
        ("e4e_pt", EncoderArchitecture("e4e", "ir-se50", "pyramid", True, 8, 512, 256), "Encoder4Editing", "opts_keys"),
        (
            "restyle_pt",
            EncoderArchitecture("restyle", "resnet34", "simple", False, 8, 512, 256, 5),
            "ResNetBackboneEncoder",
            "opts_keys_base",
        ),
    ],
)
def test_the_recorded_layouts_are_read(layout, arch, kind, opts_of, encoder_recording):
    """Names, order, shapes and types of a file that the official program wrote: an encoder is found in it."""
    recorded = json.loads((PARITY / "checkpoint.json").read_text())["layouts"][layout]
    told = recorded["encoder"]
    names = encoder_recording(told["names_as"].removesuffix(".safetensors")).names
    types = {"zero": "int64"}
    rows = [[told["prefix"] + n, shape, types.get(rule, "float32")] for n, (shape, rule) in names.items()]
    assert len(rows) == told["tensors"]
    assert hashlib.sha256(json.dumps(rows).encode()).hexdigest() == told["sha256_of_json"]  # of the recorded rows
    with torch.device("meta"):
        state = build(arch).state_dict()
    mine = [[f"encoder.{n}", list(t.shape), str(t.dtype).removeprefix("torch.")] for n, t in state.items()]
    assert sorted(mine) == sorted(rows)
    assert EncoderArchitecture.infer({n: shape for n, (shape, _) in names.items()}, arch.progressive, 5, "") == arch
    assert kind in _PUBLISHED
    assert {"encoder_type", "start_from_latent_avg"} <= set(recorded[opts_of])
    assert ("n_iters_per_batch" in recorded[opts_of]) == (arch.method == "restyle")


def test_a_published_restyle_file(tmp_path):
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
        ({"state_dict": {}, "opts": {"encoder_type": ["Encoder4Editing"]}}, "encoder_type must be one of"),
        (
            {
                "state_dict": {"encoder.styles.0.linear.weight": torch.zeros(())},
                "opts": {"encoder_type": "Encoder4Editing"},
            },
            "holds no encoder",
        ),
    ],
)
def test_other_checkpoints_are_named(content, message, tmp_path):
    torch.save(content, tmp_path / "a.pt")
    with pytest.raises(InputError, match=message):
        load_encoder(tmp_path / "a.pt")
