"""`atlas invert` as a user meets it: its result, its errors, and what is left after a power cut."""

import io
import itertools
import json
import os
import signal
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from atlas.cli import main
from atlas.files import sha256_path
from pipeline.features import perceptual_distance
from pipeline.gan import Generator, save_network
from pipeline.gan.architecture import GeneratorArchitecture
from pipeline.inversion import Latents, Projector, ProjectorSettings, read_latents, write_latents
from pipeline.inversion.noise import noise_buffers
from pipeline.inversion.selection import choose_photographs, held_out
from pipeline.lpips import load_lpips
from pipeline.photos.dataset import Photo, open_dataset, write_dataset


def arguments(generator: Path, data: Path, out: Path, *options: str) -> list[str]:
    """10 photographs in batches of 4, 3 steps."""
    paths = ["--generator", str(generator), "--data", str(data), "--out", str(out)]
    return ["invert", *paths, "--steps", "3", "--batch", "4", *options]


def invert(generator: Path, data: Path, out: Path, *options: str):
    """Run the command in this process."""
    return CliRunner().invoke(main, arguments(generator, data, out, *options))


def killed(generator: Path, data: Path, out: Path, fault: str) -> int:
    """Run the command in a process of its own, which is killed at ``fault``; return its exit status."""
    command = [sys.executable, "-c", "from atlas.cli import main; main()", *arguments(generator, data, out)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "ATLAS_FAULT": fault}
    return subprocess.run(command, env=environment, capture_output=True).returncode


class PowerCut(BaseException):
    """Stands in for SIGKILL where a process of its own would only take longer."""


def stopped(monkeypatch, batches: int, generator: Path, data: Path, out: Path, *options: str) -> None:
    """Run the command and stop it after so many batches."""
    passed = itertools.count(1)

    def point(name):
        if name == "invert.batch" and next(passed) == batches:
            raise PowerCut

    with monkeypatch.context() as patch:
        patch.setattr("pipeline.inversion.batches.fault_point", point)
        with pytest.raises(PowerCut):
            CliRunner().invoke(main, arguments(generator, data, out, *options), catch_exceptions=False)


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory, tiny_generator_path, tiny_dataset_path):
    out = tmp_path_factory.mktemp("unbroken") / "latents" / "projector.safetensors"
    done = invert(tiny_generator_path, tiny_dataset_path, out)
    assert done.exit_code == 0, done.output
    return out


def test_the_result(unbroken):
    found = read_latents(unbroken)
    assert found.w.shape == (10, 6, 8)
    assert found.broadcast
    assert found.files == tuple(f"00000/img{i:08d}.png" for i in range(10))
    assert set(found.measures) == {"l2", "perceptual", "ssim"}
    assert found.metadata["features"] == "EfficientNet-Lite0 perceptual"
    assert found.metadata["mean"]["l2"] == pytest.approx(float(found.measures["l2"].mean()), abs=1e-5)
    assert set(found.metadata["baseline"]) == {"l2", "perceptual", "ssim"}
    assert sorted(p.name for p in unbroken.parent.iterdir()) == ["projector.safetensors", "projector.stage.json"]


def test_a_killed_run_goes_on_and_ends_in_the_same_bytes(tmp_path, unbroken, tiny_generator_path, tiny_dataset_path):
    out, parts = tmp_path / "projector.safetensors", tmp_path / "projector.parts"
    run = (tiny_generator_path, tiny_dataset_path, out)
    assert killed(*run, "invert.batch:1") == -signal.SIGKILL
    (first,) = parts.iterdir()
    written = first.stat().st_mtime_ns
    # Killed again at the first batch that it does: what was done before is kept as it was.
    assert killed(*run, "invert.batch:1") == -signal.SIGKILL
    assert sorted(p.name for p in parts.iterdir()) == ["00000.safetensors", "00001.safetensors"]
    (tmp_path / ".projector.safetensors.x1y2.partial").write_bytes(b"half")  # what a kill inside a write leaves
    assert killed(*run, "invert.joined:1") == -signal.SIGKILL
    assert not list(tmp_path.glob(".*.partial"))
    assert first.stat().st_mtime_ns == written
    assert out.read_bytes() == unbroken.read_bytes()
    joined = out.stat().st_mtime_ns
    assert invert(*run).exit_code == 0
    assert out.stat().st_mtime_ns == joined
    assert out.read_bytes() == unbroken.read_bytes()
    assert not parts.exists()


def test_unfinished_work_of_other_settings_is_not_used(
    tmp_path, monkeypatch, tiny_generator_path, tiny_dataset_path, unbroken
):
    out = tmp_path / "projector.safetensors"
    stopped(monkeypatch, 2, tiny_generator_path, tiny_dataset_path, out, "--seed", "9")
    assert len(list((tmp_path / "projector.parts").iterdir())) == 2
    assert invert(tiny_generator_path, tiny_dataset_path, out).exit_code == 0
    assert out.read_bytes() == unbroken.read_bytes()


def test_a_part_that_is_damaged_or_of_other_work_is_done_again(
    tmp_path, monkeypatch, tiny_generator_path, tiny_dataset_path, unbroken
):
    out, parts = tmp_path / "projector.safetensors", tmp_path / "projector.parts"
    stopped(monkeypatch, 2, tiny_generator_path, tiny_dataset_path, out)
    first, second = sorted(parts.iterdir())
    part = read_latents(second)
    first.write_bytes(first.read_bytes()[:-7])
    write_latents(second, Latents(part.w + 1, part.files, part.measures, {"key": "of other work"}))
    assert invert(tiny_generator_path, tiny_dataset_path, out).exit_code == 0
    assert out.read_bytes() == unbroken.read_bytes()


def test_a_second_call_has_nothing_to_do(unbroken, tiny_generator_path, tiny_dataset_path):
    before = unbroken.stat().st_mtime_ns
    again = invert(tiny_generator_path, tiny_dataset_path, unbroken)
    assert again.exit_code == 0
    assert "up to date" in again.output
    assert unbroken.stat().st_mtime_ns == before


def test_some_photographs_only_and_one_to_compare_methods_on(
    tmp_path, tiny_generator_path, tiny_dataset_path, unbroken
):
    out = tmp_path / "projector.safetensors"
    done = invert(tiny_generator_path, tiny_dataset_path, out, "--photographs", "extremes", "--limit", "4")
    assert done.exit_code == 0, done.output
    some, every = read_latents(out), read_latents(unbroken)
    photos = open_dataset(tiny_dataset_path).photos
    (unseen,) = np.flatnonzero(held_out(photos))
    chosen = choose_photographs(np.array([p.percentiles for p in photos]), "extremes", 4, 1)
    assert set(some.files) == {photos[i].file for i in {*chosen, unseen}}
    rows = [every.files.index(file) for file in some.files]
    assert rows == sorted(rows)
    np.testing.assert_allclose(some.w, every.w[rows], atol=1e-3)  # in another batch, in float32


def test_the_seconds_stand_in_the_record_and_nowhere_else(unbroken):
    record = json.loads(unbroken.with_name("projector.stage.json").read_text())
    assert record["measured"]["photographs"] == 10
    assert record["measured"]["seconds_per_photograph"] > 0
    assert b"seconds" not in unbroken.read_bytes()


def test_codes_and_noise_of_w_plus(tmp_path, tiny_generator_path, tiny_dataset_path, tiny_generator):
    out = tmp_path / "projector.safetensors"
    done = invert(tiny_generator_path, tiny_dataset_path, out, "--space", "w+", "--keep-noise", "--steps", "20")
    assert done.exit_code == 0, done.output
    found = read_latents(out)
    assert not found.broadcast
    assert found.metadata["space"] == "w+"
    buffers = dict(noise_buffers(tiny_generator.synthesis))
    assert {name: maps.shape for name, maps in found.noise.items()} == {n: (10, r, r) for n, r in buffers.items()}
    assert all(maps.dtype == np.float16 for maps in found.noise.values())


def test_the_projector_starts_from_the_codes_of_a_file(tmp_path, tiny_generator_path, tiny_dataset_path, unbroken):
    start, out = tmp_path / "e4e.safetensors", tmp_path / "projector.safetensors"
    before = read_latents(unbroken)
    facts = {**before.metadata, "method": "e4e"}
    write_latents(start, Latents(before.w + 1, before.files, {}, facts))
    run = (tiny_generator_path, tiny_dataset_path, out, "--start", str(start), "--steps", "1")
    done = invert(*run)
    assert done.exit_code == 0, done.output
    found = read_latents(out)
    np.testing.assert_allclose(found.w, before.w + 1, atol=1e-6)  # the first step's learning rate is 0
    assert found.metadata["start"] == "e4e"
    write_latents(start, Latents(before.w[:5], before.files[:5], {}, facts))
    refused(invert(*run), "e4e.safetensors", f"no latent code of {before.files[5]} and 4 more")
    write_latents(start, Latents(before.w, before.files, {}, {**facts, "photographs_sha256": "0" * 64}))
    refused(invert(*run), "e4e.safetensors were made with other photographs")
    write_latents(start, Latents(before.w, before.files, {}, {**facts, "generator_sha256": "0" * 64}))
    refused(invert(*run), "e4e.safetensors were made with another generator")
    before.w[3] = np.nan
    write_latents(start, Latents(before.w, before.files, {}, facts))
    refused(invert(*run), f"the latent code of {before.files[3]} is not finite")


def test_a_dataset_of_one_photograph(tmp_path, tiny_generator_path):
    data, out = tmp_path / "dataset.zip", tmp_path / "projector.safetensors"
    photo = Photo("", "photos.zip", "a.jpg", 51.5, -0.1, "", "A", (1, 1, 1), (0.5, 0.5, 0.5), "G")
    write_dataset(data, [(photo, np.full((16, 16, 3), 99, np.uint8))], {"licence": ""})
    done = invert(tiny_generator_path, data, out)
    assert done.exit_code == 0, done.output
    assert read_latents(out).w.shape == (1, 6, 8)
    refused(invert(tiny_generator_path, data, out, "--photographs", "extremes"), "no photograph in the most or least")


def test_a_grey_photograph_in_the_zip_is_named(tmp_path, tiny_generator_path, tiny_dataset_path):
    data = tmp_path / "dataset.zip"
    with zipfile.ZipFile(tiny_dataset_path) as before, zipfile.ZipFile(data, "w") as after:
        for name in before.namelist():
            content = before.read(name)
            if name.endswith("img00000004.png"):
                stream = io.BytesIO()
                Image.open(io.BytesIO(content)).convert("L").save(stream, "PNG")
                content = stream.getvalue()
            after.writestr(name, content)
    refused(invert(tiny_generator_path, data, tmp_path / "x.safetensors"), "img00000004.png", "not 8-bit RGB")


def test_a_generator_that_gives_no_numbers(tmp_path, tiny_generator, tiny_dataset_path):
    with torch.no_grad():
        tiny_generator.synthesis.b8.conv0.weight[0, 0, 0, 0] = float("nan")
    path, out = tmp_path / "generator.safetensors", tmp_path / "projector.safetensors"
    save_network(tiny_generator, path)
    refused(invert(path, tiny_dataset_path, out), "img00000000.png became not finite", "another snapshot")
    assert not out.exists()


def test_what_does_not_go_together_is_refused(tmp_path, tiny_generator_path, tiny_dataset_path, unbroken):
    paths = ["--generator", str(tiny_generator_path), "--data", str(tiny_dataset_path)]

    def run(*options):
        return CliRunner().invoke(main, ["invert", *paths, "--out", str(tmp_path / "x.safetensors"), *options])

    refused(run("--method", "e4e"), "e4e inverts by a trained encoder", "--encoder")
    refused(run("--encoder", str(unbroken)), "the projector uses no encoder", "--start")
    both = ("--encoder", str(unbroken), "--start", str(unbroken))
    refused(run("--method", "restyle", *both), "--start is for the projector")
    for option in (("--steps", "1000"), ("--space", "w+"), ("--patience", "3"), ("--pixel-weight", "0")):
        refused(run("--method", "e4e", "--encoder", str(unbroken), *option), f"{option[0]} would change nothing", "e4e")
    some = ("--limit", "3", "--no-keep-noise", "--batch", "2")
    refused(run("--method", "restyle", *some), "--limit, --keep-noise would change nothing with --method restyle")


def refused(done, *words):
    assert done.exit_code == 2, done.output
    lines = [line for line in done.stderr.splitlines() if line.startswith("Error:")]
    assert len(lines) == 1
    assert all(word in lines[0] for word in words), lines[0]


def test_bad_input_is_one_clear_line(tmp_path, tiny_generator_path, tiny_dataset_path):
    out = tmp_path / "projector.safetensors"
    refused(invert(tiny_generator_path, tiny_dataset_path, out, "--steps", "0"), "steps must be 1 …")
    refused(invert(tiny_dataset_path, tiny_dataset_path, out), "dataset.zip")
    refused(invert(tiny_generator_path, tiny_generator_path, out), "generator.safetensors")
    missing = invert(tmp_path / "absent.safetensors", tiny_dataset_path, out)
    assert missing.exit_code == 2
    assert "does not exist" in missing.stderr
    assert not out.exists()


def test_a_generator_of_another_kind(tmp_path, tiny_dataset_path):
    out = tmp_path / "projector.safetensors"
    for z, c, channels in ((8, 3, 3), (8, 0, 1)):
        path = tmp_path / f"{c}-{channels}.safetensors"
        save_network(Generator(GeneratorArchitecture(z, c, 8, 16, channels, 2, (8, 8, 8))), path)
        refused(invert(path, tiny_dataset_path, out), "must be an unconditional generator of RGB images")


def test_photographs_of_another_size_than_the_generators(tmp_path, tiny_generator_path, photographs_of):
    data = photographs_of(tmp_path / "dataset.zip", 32)
    done = invert(tiny_generator_path, data, tmp_path / "projector.safetensors")
    refused(done, "must be 16 × 16", "got 32 × 32", "--size 16")


def test_where_the_user_has_lpips_the_projector_searches_by_it_and_its_values_are_measured(
    write_lpips, tmp_path, unbroken, tiny_generator, tiny_generator_path, tiny_dataset_path
):
    folder, out = tmp_path / "lpips", tmp_path / "projector.safetensors"
    folder.mkdir()
    _, _, files = write_lpips(folder, "vgg16")
    run = (tiny_generator_path, tiny_dataset_path, out, "--lpips", str(folder), "--pixel-weight", "0")
    done = invert(*run)
    assert done.exit_code == 0, done.output
    found = read_latents(out)
    assert found.metadata["features"] == "LPIPS (vgg16)"
    assert found.metadata["features_sha256"] == " ".join(sha256_path(file) for file in files)
    dataset, features = open_dataset(tiny_dataset_path), load_lpips(*files, "vgg16")
    images = torch.from_numpy(dataset.images(range(4))).permute(0, 3, 1, 2).float() / 127.5 - 1
    names = [photo.source_id for photo in dataset.photos[:4]]
    projector = Projector(ProjectorSettings(steps=3, pixel_weight=0), 1, features).fit(tiny_generator)
    w = projector.invert(images, names)
    torch.testing.assert_close(torch.from_numpy(found.w[:4]), w, rtol=0, atol=1e-6)
    rendered = tiny_generator.synthesis(w, noise_mode="const").clamp(-1, 1)
    expected = perceptual_distance(features, rendered, images)
    np.testing.assert_allclose(found.measures["perceptual"][:4], expected, rtol=1e-4)
    assert "up to date" in invert(*run).output
    torch.save({"classifier.0.weight": torch.zeros(1)}, files[0])
    result = invert(*run)  # the stage hangs on what is in the folder
    assert result.exit_code == 2
    assert "does not hold torchvision's vgg16" in result.output
