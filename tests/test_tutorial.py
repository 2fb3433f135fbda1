"""The tutorial's commands, in order, as they stand on the page; only its sizes are made small."""

import csv
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.photos.dataset import open_dataset

PAGE = "docs/your-own-city.md"
BLOCK = re.compile(r"^```(sh|toml)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SMALLER = {
    "--photographs 600": "--photographs 120 --size 32",
    "--label 200": "--label 60",
    "size = 64": "size = 16",
    "kimg = 400\n": "kimg = 0.2\nchannel_base = 256\nlatent = 16\n",
    "snapshot_kimg = 20": "snapshot_kimg = 0.1",
    "steps = 200": "steps = 3\nlimit = 60",
    "folds = 5": "folds = 2",
    'bases = "random:8"\nsteps = 5': 'bases = "random:1"\nsteps = 1',
}


@pytest.fixture(scope="module")
def blocks(repository):
    page = (repository / PAGE).read_text(encoding="utf-8")
    found = BLOCK.findall(page)
    assert len(found) == page.count("```") // 2, "every block of the page is sh or toml, and is run"
    whole = "\0".join(f"{kind}\n{text}" for kind, text in found)
    for usual, small in SMALLER.items():
        assert whole.count(usual) == 1, f"{usual!r} must stand once on the page"
        whole = whole.replace(usual, small)
    return [tuple(block.split("\n", 1)) for block in whole.split("\0")]


def test_the_page_works_from_its_first_command_to_its_last(blocks, repository, tmp_path):
    shutil.copytree(repository / "examples", tmp_path / "examples")
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    env = {**os.environ, "PATH": path, "PYTHONPATH": str(repository)}
    said = ""
    for kind, text in blocks:
        if kind == "toml":
            (tmp_path / "my-city.toml").write_text(text, encoding="utf-8")
            continue
        if "--labels labels.csv" in text:
            label(tmp_path)
        done = subprocess.run(
            ["bash", "-euc", text], cwd=tmp_path, env=env, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{text}\n{done.stdout}\n{done.stderr}"
        said += done.stdout
    assert "precision" in said
    assert (tmp_path / "runs/my-city/site/index.html").is_file()
    kept = [row for row in read(tmp_path / "my-city/keep.csv") if row["keep"] == "1"]
    usable = {row["file"] for row in read(tmp_path / "my-city/truth.csv") if row["usable"] == "1"}
    assert len([row for row in kept if row["file"] in usable]) > 0.9 * len(kept)
    assert len(open_dataset(tmp_path / "runs/my-city/dataset/dataset.zip").photos) == len(kept)


def label(folder):
    """Do what the reader does on the labelling page: label the photographs on it, here by the town's truth."""
    page = (folder / "labelling" / "index.html").read_text(encoding="utf-8")
    rows = [row for row in read(folder / "my-city/truth.csv") if row["file"] in page]
    assert len(rows) == 60
    with (folder / "labels.csv").open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, ["file", "usable"])
        writer.writeheader()
        writer.writerows(rows)


def read(path):
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))
