"""Training encoders: killed anywhere and started again, it ends in the same bytes; and what it refuses."""

import dataclasses
import functools
import json
import os
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from atlas.errors import InputError
from atlas.preset import EncoderSettings, override
from atlas.stage import run_stage
from pipeline.gan import Generator, load_generator, save_network
from pipeline.gan.architecture import GeneratorArchitecture
from pipeline.gan.statefile import DivergedError
from pipeline.inversion import E4E, ReStyle, load_encoder
from pipeline.inversion.encoders import training
from pipeline.inversion.encoders.files import read_facts
from pipeline.inversion.encoders.stages import encoder_stage
from pipeline.inversion.encoders.training import train_encoder
from pipeline.inversion.selection import held_out
from pipeline.photos.dataset import Photo, open_dataset, write_dataset

SETTINGS = EncoderSettings(
    steps=10, batch=4, generated=0.5, checkpoint=4, stage_start=2, stage_every=1, iterations=2, similarity="off"
)


def quiet(line: str) -> None:
    pass


def start(method, generator, dataset, out: Path, fault: str = "", settings=SETTINGS) -> tuple[int, str]:
    """Train in a process of its own, which may be killed; return how it ended and what it said.

    A forked one: importing PyTorch anew would take longer than all of the training.
    """
    said = out.with_name("said")
    child = os.fork()
    if child == 0:
        try:
            os.environ["ATLAS_FAULT"] = fault
            with said.open("w") as stream:
                log = functools.partial(print, file=stream, flush=True)
                train_encoder(method, generator, dataset, settings, 3, out, log=log)
            os._exit(0)
        finally:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    text = said.read_text()
    said.unlink()
    return os.waitstatus_to_exitcode(status), text


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.fixture(scope="module")
def unbroken(tiny_generator_path, tiny_dataset_path, tmp_path_factory):
    """The files of a run of each method that was never stopped."""
    found = {}
    for method in ("e4e", "restyle"):
        folder = tmp_path_factory.mktemp(method)
        train_encoder(
            method, tiny_generator_path, tiny_dataset_path, SETTINGS, 3, folder / f"{method}.safetensors", log=quiet
        )
        found[method] = contents(folder)
        assert set(found[method]) == {
            f"{method}.safetensors",
            f"{method}.training/state.safetensors",
            f"{method}.training/stats.jsonl",
            *(f"{method}.training/sheets/{name}.png" for name in ("latest", "0000004", "0000008")),
        }
    return found


KILLS = {
    "e4e": ["encoder.step:2", "encoder.mid-checkpoint:1", "encoder.mid-publish:1", "encoder.step:3"],
    "restyle": ["encoder.before-checkpoint:2", "encoder.after-checkpoint:1"],
}


@pytest.mark.parametrize("method", KILLS)
def test_killed_again_and_again_it_ends_in_the_same_bytes(
    method, unbroken, tiny_generator_path, tiny_dataset_path, tmp_path
):
    out = tmp_path / f"{method}.safetensors"
    for fault in KILLS[method]:
        kept = (tmp_path / f"{method}.training" / "state.safetensors").exists()
        ended, said = start(method, tiny_generator_path, tiny_dataset_path, out, fault)
        assert ended == -signal.SIGKILL, (fault, said)
        assert ("going on from" in said) == kept
    assert start(method, tiny_generator_path, tiny_dataset_path, out)[0] == 0
    assert contents(tmp_path) == unbroken[method]


def test_with_ranger_slow_weights_outlive_a_kill(tiny_generator_path, tiny_dataset_path, tmp_path):
    """Every sixth step falls back half-way to where the weights were six steps before, on either side of a kill."""
    ranger = override(SETTINGS, optimizer="ranger", steps=14, lr=0.01)
    whole, out = tmp_path / "whole" / "e4e.safetensors", tmp_path / "killed" / "e4e.safetensors"
    for path in (whole, out):
        path.parent.mkdir()
    train_encoder("e4e", tiny_generator_path, tiny_dataset_path, ranger, 3, whole, log=quiet)
    state = out.with_suffix(".training") / "state.safetensors"
    for fault in ("encoder.step:6", "encoder.step:7"):  # with 5 and 10 steps done; goes on from 4 and from 8
        ended, _ = start("e4e", tiny_generator_path, tiny_dataset_path, out, fault, ranger)
        assert ended == -signal.SIGKILL
        tensors = load_file(state)
        first = next(name for name in tensors if name.startswith("encoder.") and name.endswith("weight"))
        assert not torch.equal(tensors["optimizer.slow.0"], tensors[first])
    ended, said = start("e4e", tiny_generator_path, tiny_dataset_path, out, settings=ranger)
    assert (ended, "going on from step 8" in said) == (0, True)
    assert contents(out.parent) == contents(whole.parent)


def test_a_finished_run_trains_on_as_if_it_had_been_longer(unbroken, tiny_generator_path, tiny_dataset_path, tmp_path):
    out = tmp_path / "e4e.safetensors"
    for steps in (5, 10):
        settings = override(SETTINGS, steps=steps)
        train_encoder("e4e", tiny_generator_path, tiny_dataset_path, settings, 3, out, log=quiet)
    assert contents(tmp_path) == unbroken["e4e"]


def test_the_state_of_another_run_is_refused(unbroken, tiny_generator_path, tiny_dataset_path, tmp_path):
    out = tmp_path / "e4e.safetensors"
    folder = tmp_path / "e4e.training"
    folder.mkdir()
    (folder / "state.safetensors").write_bytes(unbroken["e4e"]["e4e.training/state.safetensors"])
    with pytest.raises(InputError, match=r"another run.*lr 0\.001 became 0\.01"):
        train_encoder("e4e", tiny_generator_path, tiny_dataset_path, override(SETTINGS, lr=0.01), 3, out, log=quiet)
    with pytest.raises(InputError, match="seed 3 became 4"):
        train_encoder("e4e", tiny_generator_path, tiny_dataset_path, SETTINGS, 4, out, log=quiet)
    with pytest.raises(InputError, match=r"tensors .*D\.mlp.* of another shape or type"):
        train_encoder("e4e", tiny_generator_path, tiny_dataset_path, SETTINGS, 3, out, log=quiet, double=True)
    (folder / "state.safetensors").write_bytes(b"torn")
    with pytest.raises(InputError, match="not a whole"):
        train_encoder("e4e", tiny_generator_path, tiny_dataset_path, SETTINGS, 3, out, log=quiet)


def test_what_comes_out(unbroken, tiny_generator_path, tmp_path):
    for method in ("e4e", "restyle"):
        path = tmp_path / f"{method}.safetensors"
        path.write_bytes(unbroken[method][f"{method}.safetensors"])
        generator = load_generator(tiny_generator_path)
        encoder = load_encoder(path, generator=generator)
        assert encoder(torch.zeros(2, 3, 16, 16)).shape == (2, generator.num_ws, generator.w_dim)
        facts = read_facts(path)
        assert (facts["steps"], facts["seed"], facts["generated"]) == (10, 3, 0.5)
        assert "EfficientNet-Lite0 perceptual" in facts["losses"]


def test_what_no_step_has_trained_is_not_used(tiny_generator_path, tiny_dataset_path, tmp_path):
    """Stage 1 begins in the third step: after two no style has its own difference, after three the second has."""
    out, images = tmp_path / "e4e.safetensors", torch.randn(2, 3, 16, 16)
    for steps, stage in ((2, 0), (3, 1), (4, 2)):
        settings = override(SETTINGS, steps=steps)
        train_encoder("e4e", tiny_generator_path, tiny_dataset_path, settings, 3, out, log=quiet)
        encoder = load_encoder(out)
        codes = encoder(images) - encoder.latent_avg
        apart = (codes - codes[:, :1]).abs().amax((0, 2))[1:] > 1e-4
        assert encoder.stage == stage
        assert apart.tolist() == [style <= stage for style in range(1, 6)]


def test_statistics_and_sheets(tiny_generator_path, tiny_dataset_path, tmp_path, monkeypatch):
    monkeypatch.setattr(training, "TICK", 2)
    out = tmp_path / "e4e.safetensors"
    settings = override(SETTINGS, similarity="efficientnet-lite0")
    train_encoder("e4e", tiny_generator_path, tiny_dataset_path, settings, 3, out, log=quiet)
    folder = tmp_path / "e4e.training"
    lines = [json.loads(line) for line in (folder / "stats.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [2, 4, 6, 8, 10]
    assert [line["stage"] for line in lines] == [0, 2, 4, 5, 5]
    parts = {"loss", "l2", "perceptual", "similarity", "code", "delta", "adversarial", "discriminator"}
    for line in lines:
        assert parts <= set(line)
        expected = 10 * line["l2"] + 0.8 * line["perceptual"] + 0.5 * line["similarity"] + line["code"]
        expected += 2e-4 * line["delta"] + 0.1 * line["adversarial"]
        assert line["loss"] == pytest.approx(expected, rel=1e-4)
    assert ["r1" in line for line in lines] == [True, False, False, False, False]  # every sixteenth step
    held = held_out(open_dataset(tiny_dataset_path).photos)
    shown = int(held.sum()) or len(held)
    sheet = np.asarray(Image.open(folder / "sheets" / "latest.png"))
    assert sheet.shape == (2 * 16 * -(-shown // 8), 8 * 16, 3)


@pytest.mark.parametrize("method", ["e4e", "restyle"])
def test_it_learns(method, tiny_generator_path, tiny_dataset_path, tmp_path):
    """Of a generator's own images, a short training finds a good part of the codes."""
    settings = EncoderSettings(steps=40, batch=16, generated=1.0, similarity="off", stage_start=1, stage_every=1)
    if method == "restyle":
        settings = override(settings, iterations=2, variant="psp", steps=25)
    out = tmp_path / f"{method}.safetensors"
    train_encoder(method, tiny_generator_path, tiny_dataset_path, settings, 1, out, log=quiet)
    G = load_generator(tiny_generator_path)
    encoder = load_encoder(out, generator=G)
    w = G.mapping(torch.randn(64, G.z_dim, generator=torch.Generator().manual_seed(9)))
    images = G.synthesis(w, noise_mode="const")

    def error(codes):
        return (G.synthesis(codes, noise_mode="const") - images).square().mean().item()

    assert error(encoder(images)) < 0.8 * error(G.mapping.w_avg.expand_as(w))


@pytest.mark.parametrize("variant", ["psp", "e4e"])
def test_restyle_in_both_variants(variant, tiny_generator_path, tiny_dataset_path, tmp_path):
    settings = override(SETTINGS, steps=2, variant=variant, iterations=2)
    model = ReStyle(settings, seed=2).fit(tiny_generator_path, tiny_dataset_path, tmp_path / "r.safetensors", log=quiet)
    arch = model.encoder_.architecture
    assert (arch.progressive, arch.iterations) == (variant == "e4e", 2)
    codes = model.invert(torch.zeros(3, 3, 16, 16))
    assert codes.shape == (3, arch.num_ws, arch.w_dim)


def test_the_estimators_have_scikit_learns_manner(unbroken, tiny_generator_path, tmp_path):
    path = tmp_path / "e4e.safetensors"
    path.write_bytes(unbroken["e4e"]["e4e.safetensors"])
    with pytest.raises(InputError, match="call fit or load first"):
        E4E().invert(torch.zeros(1, 3, 16, 16))
    with pytest.raises(InputError, match="an encoder of e4e, not of restyle"):
        ReStyle().load(path, tiny_generator_path)
    generator, restyle = load_generator(tiny_generator_path), tmp_path / "restyle.safetensors"
    restyle.write_bytes(unbroken["restyle"]["restyle.safetensors"])
    photographs = torch.randn(2, 3, 16, 16)
    found = [ReStyle().load(restyle, given).invert(photographs) for given in (generator, str(tiny_generator_path))]
    assert torch.equal(*found)
    model, images, seen = E4E(batch=2).load(path), torch.randn(5, 3, 16, 16), []
    codes = model.invert(images, lambda done, total: seen.append((done, total)))
    assert torch.allclose(codes, model.encoder_(images), atol=1e-5)
    assert seen == [(2, 5), (4, 5), (5, 5)]
    assert model.invert(images[:0]).shape == (0, *codes.shape[1:])


# What an encoder is never trained on, and odd photographs.


def photographs(path: Path, images: list[np.ndarray], groups: list[str]) -> Path:
    photo = Photo("", "drawn", "0", 51.5, 0.0, "", "A", (1, 1, 1), (0.5, 0.5, 0.5), "")
    rows = (
        (dataclasses.replace(photo, group=g, source_id=str(i)), im)
        for i, (im, g) in enumerate(zip(images, groups, strict=True))
    )
    write_dataset(path, rows, {"licence": ""})
    return path


def _groups() -> tuple[str, str]:
    """A block that is held out, and one that is not."""
    photo = Photo("", "drawn", "0", 51.5, 0.0, "", "A", (1, 1, 1), (0.5, 0.5, 0.5), "")
    names = [f"block {i}" for i in range(100)]
    held = held_out([dataclasses.replace(photo, group=name) for name in names])
    return names[int(np.flatnonzero(held)[0])], names[int(np.flatnonzero(~held)[0])]


def test_photographs_that_are_held_out_are_never_trained_on(tiny_generator_path, tmp_path, monkeypatch):
    held, free = _groups()
    white, black = np.full((16, 16, 3), 255, np.uint8), np.zeros((16, 16, 3), np.uint8)
    dataset = photographs(tmp_path / "dataset.zip", [white, black] * 10, [held, free] * 10)
    seen = []
    original = training._images

    def watched(*arguments):
        x, known = original(*arguments)
        seen.append(x)
        return x, known

    monkeypatch.setattr(training, "_images", watched)
    settings = override(SETTINGS, generated=0.0)
    train_encoder("e4e", tiny_generator_path, dataset, settings, 1, tmp_path / "e.safetensors", log=quiet)
    assert len(seen) == 10
    assert torch.cat(seen).max() == -1
    sheet = np.asarray(Image.open(tmp_path / "e.training" / "sheets" / "latest.png"))
    assert (sheet[:16] == 255).all()  # and the sheets show those held out


def test_a_dataset_of_one_photograph(tiny_generator_path, tmp_path):
    held, free = _groups()
    image = np.random.default_rng(1).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    alone = photographs(tmp_path / "free.zip", [image], [free])
    lines: list[str] = []
    settings = override(SETTINGS, steps=2, generated=0.0)
    train_encoder("e4e", tiny_generator_path, alone, settings, 1, tmp_path / "e.safetensors", log=lines.append)
    assert any("1 photographs" in line or "1 photograph" in line for line in lines)
    kept = photographs(tmp_path / "held.zip", [image], [held])
    with pytest.raises(InputError, match="held out for comparing inversions"):
        train_encoder("e4e", tiny_generator_path, kept, settings, 1, tmp_path / "f.safetensors", log=quiet)


@pytest.mark.parametrize("size", [8, 32])
def test_photographs_of_another_size_than_the_generators(size, tiny_generator_path, photographs_of, tmp_path):
    dataset = photographs_of(tmp_path / "dataset.zip", size)
    model = E4E(override(SETTINGS, steps=2)).fit(tiny_generator_path, dataset, tmp_path / "e.safetensors", log=quiet)
    assert model.encoder_.architecture.size == 16


def test_a_conditional_generator_is_refused(tiny_dataset_path, tmp_path):
    save_network(Generator(GeneratorArchitecture(8, 2, 8, 16, 3, 2, (8, 8, 8))), tmp_path / "g.safetensors")
    with pytest.raises(InputError, match="must be an unconditional generator"):
        train_encoder("e4e", tmp_path / "g.safetensors", tiny_dataset_path, SETTINGS, 1, tmp_path / "e.safetensors")


def test_numbers_that_are_none_stop_with_the_last_checkpoint_kept(
    unbroken, tiny_generator_path, tiny_dataset_path, tmp_path, monkeypatch
):
    original, calls = training.unexplained, []

    def broken(*arguments):
        calls.append(1)
        value = original(*arguments)
        return value * float("nan") if len(calls) == 7 else value

    monkeypatch.setattr(training, "unexplained", broken)
    out = tmp_path / "e4e.safetensors"
    with pytest.raises(DivergedError, match=r"diverged before step 8.*last checkpoint is kept"):
        train_encoder("e4e", tiny_generator_path, tiny_dataset_path, SETTINGS, 3, out, log=quiet)
    assert read_facts(out)["steps"] == 4
    assert load_encoder(out)(torch.zeros(1, 3, 16, 16)).isfinite().all()
    monkeypatch.undo()
    train_encoder("e4e", tiny_generator_path, tiny_dataset_path, SETTINGS, 3, out, log=quiet)
    assert contents(tmp_path) == unbroken["e4e"]


def test_the_stage_runs_once_goes_on_and_starts_over(tiny_generator_path, tiny_dataset_path, tmp_path):
    out, record = tmp_path / "e4e.safetensors", tmp_path / "e4e.stage.json"
    lines: list[str] = []

    def run(**changed) -> bool:
        settings = override(SETTINGS, **{"steps": 4, "checkpoint": 2, **changed})
        stage, work = encoder_stage(
            "e4e", tiny_generator_path, tiny_dataset_path, settings, 1, "cpu", out, record, lines.append
        )
        return run_stage(stage, work, log=lines.append)

    assert run()
    assert not run()
    assert run(steps=6)
    assert any("going on from step 4" in line for line in lines)
    lines.clear()
    assert run(steps=6, lr=0.01)
    assert not any("going on from" in line for line in lines)
    assert read_facts(out)["steps"] == 6


@pytest.mark.slow
@pytest.mark.parametrize("backbone", ["narrow", "full"])
@pytest.mark.parametrize("method", ["e4e", "restyle"])
def test_a_generator_as_auto_makes_it_at_256_px(backbone, method, tmp_path):
    """Two mapping layers, half the width: what published encoders cannot load."""
    generator = tmp_path / "generator.safetensors"
    save_network(
        Generator(GeneratorArchitecture(512, 0, 512, 256, 3, 2, (512, 512, 512, 512, 256, 128, 64))), generator
    )
    _, free = _groups()
    image = np.random.default_rng(1).integers(0, 256, (256, 256, 3), dtype=np.uint8)
    dataset = photographs(tmp_path / "dataset.zip", [image] * 2, [free] * 2)
    settings = EncoderSettings(backbone=backbone, steps=1, batch=2, iterations=1, generated=0.5)
    out = tmp_path / f"{method}.safetensors"
    train_encoder(method, generator, dataset, settings, 1, out, log=quiet)
    encoder = load_encoder(out, generator=load_generator(generator))
    codes = encoder(torch.from_numpy(image).permute(2, 0, 1)[None] / 127.5 - 1)
    assert codes.shape == (1, 14, 512)
    assert codes.isfinite().all()
    assert set(load_file(out)) >= {"latent_avg", "encoder.styles.13.linear.weight"}


def test_a_stage_hangs_on_the_users_networks_and_not_on_where_they_lie(
    tiny_generator_path, tiny_dataset_path, tmp_path
):
    settings = override(SETTINGS, lpips=str(tmp_path / "mine"), similarity="default", moco=str(tmp_path / "moco.pth"))
    out = tmp_path / "e4e.safetensors"
    stage, _ = encoder_stage(
        "e4e", tiny_generator_path, tiny_dataset_path, settings, 1, "cpu", out, tmp_path / "e4e.stage.json"
    )
    assert {"generator", "dataset", "lpips", "moco"} == set(stage.inputs)
    assert str(tmp_path) not in json.dumps(dict(stage.settings))
    assert stage.settings["similarity"] == "moco"
    with pytest.raises(InputError, match="the lpips that stage encoder e4e reads is not there"):
        run_stage(stage, lambda resume: None, log=quiet)
