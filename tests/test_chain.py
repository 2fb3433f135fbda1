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

import pytest

from atlas.files import content_files
from pipeline.run import Chain

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
[invert]
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

    def said(self, stage):
        """Return what was last said of a stage before it was done."""
        return re.findall(rf"^{stage}: (up to date|running|going on)$", self.news, re.MULTILINE)

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


def forget(runs, first):
    """Remove a stage's folder and all that follow."""
    folders = dict(
        zip(Chain.NAMES, ("dataset", "train", "latents", "boundaries", "archive", "packs", "site"), strict=True)
    )
    for name in Chain.NAMES[Chain.NAMES.index(first) :]:
        shutil.rmtree(runs.root / folders[name])


def test_every_stage_leaves_its_result_and_its_record(unbroken):
    for file in (
        "dataset/dataset.zip",
        "train/generator.safetensors",
        "train/discriminator.safetensors",
        "latents/projector.safetensors",
        "boundaries/report.json",
        "boundaries/table1.csv",
        "archive/tiny.zarr/zarr.json",
        "packs/packs.json",
        "site/index.html",
        "site/manifest-sha256.txt",
    ):
        assert (unbroken.root / file).is_file(), file
    records = [json.loads(p.read_text()) for p in unbroken.root.glob("*/stage.json")]
    assert {r["stage"] for r in records} == set(Chain.NAMES)
    assert all(r["seconds"] > 0 and r["software"]["python"] for r in records)


def test_the_run_says_how_to_open_the_site(unbroken):
    assert f"Open {unbroken.root / 'site' / 'index.html'} in a browser" in unbroken.last_line


def test_nothing_runs_twice(copied):
    assert copied.run() == 0
    assert [copied.said(name) for name in Chain.NAMES] == [["up to date"]] * len(Chain.NAMES)


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
    at = Chain.NAMES.index(first)
    said = [copied.said(name) for name in Chain.NAMES]
    assert said == [["up to date"]] * at + [["running"]] * (len(Chain.NAMES) - at)


def test_the_same_seed_gives_the_same_bytes(unbroken, tmp_path):
    again = Runs(tmp_path)
    assert again.run() == 0
    assert again.content() == unbroken.content()


def test_from_and_until(copied):
    assert copied.run("--from", "boundaries", "--until", "render") == 0
    assert [copied.said(n) for n in Chain.NAMES] == [["up to date"]] * 3 + [["running"]] * 2 + [[], []]
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
        ("invert.batch:2", "invert"),
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
    forget(copied, stage)
    assert copied.run(fault=fault) == -signal.SIGKILL
    kept = finished_files(copied)
    assert copied.run() == 0, copied.news
    assert copied.said(stage) == ["going on"]
    assert {copied.said(n)[0] for n in Chain.NAMES[: Chain.NAMES.index(stage)]} <= {"up to date"}
    assert copied.content() == unbroken.content()
    assert kept
    for path, stamp in kept.items():
        assert path.stat().st_mtime_ns == stamp, f"{path.name} was made again"


def finished_files(runs):
    """Return what a killed run had finished and a resumed one must not make again, but for working files."""
    remade = re.compile(r"/train/|\.parts/|partial|manifest|/zarr\.json$|/bases/|/directions/|/scores/|/typicality/")
    return {p: p.stat().st_mtime_ns for p in content_files(runs.root) if not remade.search(p.as_posix())}


@pytest.mark.parametrize("attempt", range(3))
def test_killed_at_a_random_moment_it_ends_in_the_same_bytes(unbroken, tmp_path, attempt):
    runs = Runs(tmp_path)
    seconds = sum(json.loads(p.read_text())["seconds"] for p in unbroken.root.glob("*/stage.json"))
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
