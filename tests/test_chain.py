"""The whole chain in real processes: order, skipping, and that a killed run ends in the bytes of an unbroken one."""

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from atlas.files import content_files
from atlas.preset import load_preset
from pipeline.inversion import read_latents
from pipeline.run import Chain, RunFolder

PRESET = """
name = "tiny"
title = "A tiny street"
seed = 3
[dataset]
size = 16
photographs = 120
[train]
kimg = 0.256
batch = 8
channel_base = 256
channel_max = 16
latent = 16
snapshot_kimg = 0.064
[encoder]
steps = 4
batch = 8
checkpoint = 2
[invert]
methods = ["e4e", "projector"]
steps = 3
batch = 16
photographs = "extremes"
limit = 60
[boundaries]
folds = 2
bootstraps = 100
permutations = 4
bases = 2
reinverted = 1
reinvert_steps = 2
[render]
bases = "random:2"
steps = 1
"""


class Runs:
    """Runs of the tiny preset in one folder, each in a process of its own."""

    def __init__(self, folder):
        self.root = folder / "run"
        self.preset = folder / "tiny.toml"
        self.preset.write_text(PRESET)
        self.news = ""

    def start(self, *options, fault=None):
        command = [sys.executable, "-c", "from atlas.cli import main; main()", "run", str(self.preset)]
        env = {**os.environ, "ATLAS_FAULT": fault or "", "OMP_NUM_THREADS": "1"}
        return subprocess.Popen(
            [*command, "--out", str(self.root), *options],
            env=env,
            stderr=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(self, *options, fault=None):
        process = self.start(*options, fault=fault)
        out, self.news = process.communicate()
        self.last_line = out.strip().splitlines()[-1] if out.strip() else ""
        return process.returncode

    def labels(self, first=Chain.NAMES[0]):
        """Return the parts of all stages, or of those from ``first`` on, as the news call them."""
        chain = Chain(load_preset(self.preset), RunFolder(self.root, "tiny"), None, "cpu", print)
        names = Chain.NAMES[Chain.NAMES.index(first) :]
        return [part.label for name in names for part in chain.parts(name)]

    def said(self, label):
        """Return what was said of a part before it was done."""
        return re.findall(rf"^{label}: (up to date|running|going on)$", self.news, re.MULTILINE)

    def content(self):
        return {p.relative_to(self.root).as_posix(): p.read_bytes() for p in content_files(self.root)}


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    runs = Runs(tmp_path_factory.mktemp("unbroken"))
    assert runs.run() == 0, runs.news
    return runs


@pytest.fixture
def copied(unbroken, tmp_path):
    """A finished run that may be harmed."""
    runs = Runs(tmp_path)
    shutil.copytree(unbroken.root, runs.root)
    return runs


FOLDERS = {
    "dataset": "dataset",
    "train": "train",
    "encoder": "encoders",
    "invert": "latents",
    "boundaries": "boundaries",
    "render": "archive",
    "pack": "packs",
    "site": "site",
}


def forget(runs, first):
    """Remove what a stage made and what all that follow did."""
    for name in Chain.NAMES[Chain.NAMES.index(first) :]:
        if name == "compare":
            for path in (runs.root / "latents").glob("comparison*"):
                path.unlink()
        else:
            shutil.rmtree(runs.root / FOLDERS[name])


def records(runs):
    """Return the records of a run's stages by what the news call them."""
    found = [json.loads(p.read_text()) for p in runs.root.rglob("*stage.json")]
    return {record["stage"]: record for record in found}


def test_every_stage_leaves_its_result_and_its_record(unbroken):
    for file in (
        "dataset/dataset.zip",
        "train/generator.safetensors",
        "train/discriminator.safetensors",
        "encoders/e4e.safetensors",
        "latents/e4e.safetensors",
        "latents/projector.safetensors",
        "latents/comparison.json",
        "latents/comparison.png",
        "boundaries/report.json",
        "boundaries/table1.csv",
        "archive/tiny.zarr/zarr.json",
        "packs/packs.json",
        "site/index.html",
        "site/manifest-sha256.txt",
    ):
        assert (unbroken.root / file).is_file(), file
    assert set(records(unbroken)) == set(unbroken.labels())
    assert all(r["seconds"] > 0 and r["software"]["python"] for r in records(unbroken).values())


def test_rendered_walks_are_inverted_again_by_each_method(unbroken):
    report = json.loads((unbroken.root / "boundaries" / "report.json").read_text())
    assert set(report["moves"]) == set(report["methods"]) == {"e4e", "projector"}
    for method, moves in report["moves"].items():
        assert moves["bases"] == 1
        measured, computed = np.array(moves["measured"]), np.array(moves["computed"])
        assert measured.shape == computed.shape == (3, 3, 3)
        assert np.isfinite(measured).all()
        assert np.abs(measured).max() > 1e-3, method  # other images have other codes
        assert np.abs(measured - computed).max() > 1e-3, method  # and these are not the codes that were rendered
    assert report["moves"]["e4e"]["measured"] != report["moves"]["projector"]["measured"]


def test_the_run_says_how_to_open_the_site(unbroken):
    assert f"Open {unbroken.root / 'site' / 'index.html'} in a browser" in unbroken.last_line


def test_nothing_runs_twice(copied):
    assert copied.run() == 0
    assert [copied.said(label) for label in copied.labels()] == [["up to date"]] * len(copied.labels())


@pytest.mark.parametrize(
    ("old", "new", "first"),
    [
        ("folds = 2", "folds = 3", "boundaries"),
        ("steps = 1\n", "steps = 2\n", "render"),
        ("seed = 3", "seed = 4", "dataset"),
    ],
)
def test_a_changed_setting_runs_its_stage_and_what_follows(copied, old, new, first):
    copied.preset.write_text(PRESET.replace(old, new))
    assert copied.run() == 0, copied.news
    after = copied.labels(first)
    before = len(copied.labels()) - len(after)
    said = [copied.said(label) for label in copied.labels()]
    assert said == [["up to date"]] * before + [["running"]] * len(after)


def test_a_method_is_added_and_taken_away_without_a_change_to_the_others(copied):
    two = copied.preset.read_text()
    copied.preset.write_text(two.replace('"e4e", "projector"', '"e4e", "projector", "restyle"'))
    assert copied.run("--until", "boundaries") == 0, copied.news
    ran = {label for label in copied.labels() if copied.said(label) == ["running"]}
    assert ran == {"encoder restyle", "invert restyle", "compare", "boundaries"}
    report = json.loads((copied.root / "boundaries" / "report.json").read_text())
    assert set(report["methods"]) == {"e4e", "projector", "restyle"}
    comparison = json.loads((copied.root / "latents" / "comparison.json").read_text())
    assert list(comparison["methods"]) == ["e4e", "projector", "restyle", "w_avg"]
    copied.preset.write_text(two.replace("steps = 3\n", "steps = 2\n"))
    assert copied.run("--until", "boundaries") == 0, copied.news
    ran = {label for label in copied.labels() if copied.said(label) == ["running"]}
    assert ran == {"invert projector", "compare", "boundaries"}


def test_the_projector_starts_from_an_encoder_and_the_atlas_is_another_method_s(copied):
    text = copied.preset.read_text().replace("steps = 3\n", 'steps = 3\nstart = "e4e"\n')
    copied.preset.write_text(text.replace("[render]", '[render]\nmethod = "e4e"'))
    assert copied.run("--until", "render") == 0, copied.news
    assert copied.said("invert e4e") == ["up to date"]
    assert copied.said("invert projector") == copied.said("render") == ["running"]
    moves = json.loads((copied.root / "boundaries" / "report.json").read_text())["moves"]
    assert set(moves) == {"e4e", "projector"}  # the projector again from e4e's codes
    assert read_latents(copied.root / "latents" / "projector.safetensors").metadata["start"] == "e4e"
    attributes = json.loads((copied.root / "archive" / "tiny.zarr" / "zarr.json").read_text())["attributes"]
    assert attributes["method"] == "e4e"


def test_the_same_seed_gives_the_same_bytes(unbroken, tmp_path):
    again = Runs(tmp_path)
    assert again.run() == 0
    assert again.content() == unbroken.content()


def test_from_and_until(copied):
    assert copied.run("--from", "boundaries", "--until", "render") == 0
    before = len(copied.labels()) - len(copied.labels("boundaries"))
    said = [copied.said(label) for label in copied.labels()]
    assert said == [["up to date"]] * before + [["running"]] * 2 + [[], []]
    assert copied.run("--from", "site", "--until", "train") == 2
    assert copied.news == "Error: --from site comes after --until train: nothing would run\n"


@pytest.mark.parametrize(
    ("fault", "stage"),
    [
        ("train.iteration:21", "train"),
        ("train.before-checkpoint:2", "train"),
        ("train.mid-checkpoint:2", "train"),
        ("train.after-checkpoint:2", "train"),
        ("train.before-record", "train"),
        ("encoder.after-checkpoint:1", "encoder e4e"),
        ("invert.batch:2", "invert e4e"),
        ("invert.batch:10", "invert projector"),
        ("compare.before-record", "compare"),
        ("boundaries.part:2", "boundaries"),
        ("render.shard:1", "render"),
        ("render.shard:4", "render"),
        ("render.before-record", "render"),
        ("pack.file:3", "pack"),
        ("site.file:1", "site"),
        ("site.file:5", "site"),
    ],
)
def test_killed_at_a_fault_point_it_ends_in_the_same_bytes_and_keeps_what_was_done(copied, unbroken, fault, stage):
    forget(copied, stage.partition(" ")[0])
    assert copied.run(fault=fault) == -signal.SIGKILL
    kept = finished_files(copied)
    assert copied.run() == 0, copied.news
    assert copied.said(stage) == ["going on"]
    before = copied.labels()[: copied.labels().index(stage)]
    assert {copied.said(label)[0] for label in before} <= {"up to date"}
    assert copied.content() == unbroken.content()
    assert kept
    for path, stamp in kept.items():
        assert path.stat().st_mtime_ns == stamp, f"{path.name} was made again"


def finished_files(runs):
    """Return what a killed run had finished and a resumed one must not make again, but for working files."""
    remade = re.compile(
        r"/train/|/encoders/|\.parts/|partial|manifest|/zarr\.json$|/bases/|/directions/|/scores/|/typicality/"
    )
    return {p: p.stat().st_mtime_ns for p in content_files(runs.root) if not remade.search(p.as_posix())}


@pytest.mark.parametrize("attempt", range(3))
def test_killed_at_a_random_moment_it_ends_in_the_same_bytes(unbroken, tmp_path, attempt):
    runs = Runs(tmp_path)
    seconds = sum(record["seconds"] for record in records(unbroken).values())
    moment = random.SystemRandom().uniform(2.0, 2.0 + seconds)
    process = runs.start()
    try:
        process.wait(timeout=moment)
    except subprocess.TimeoutExpired:
        process.kill()
    process.communicate()
    assert runs.run() == 0, f"after a kill at {moment:.3f} s: {runs.news}"
    assert runs.content() == unbroken.content(), f"after a kill at {moment:.3f} s"


def test_training_repeats_at_most_one_checkpoint_interval(copied):
    forget(copied, "train")
    assert copied.run("--until", "train", fault="train.iteration:29") == -signal.SIGKILL
    before = time.time_ns()
    assert copied.run("--until", "train") == 0
    lines = (copied.root / "train" / "stats.jsonl").read_text().splitlines()
    assert re.findall(r"going on from ([0-9.]+) kimg", copied.news) == ["0.2"], copied.news  # 0.192 of 0.224
    assert len(lines) >= 4
    assert (copied.root / "train" / "generator.safetensors").stat().st_mtime_ns > before
