"""The command `atlas train`: it runs, goes on, lengthens, and refuses in one line."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from atlas.cli import main

ATLAS = Path(sys.executable).with_name("atlas")
TINY = ["--batch", "4", "--channel-base", "64", "--channel-max", "8", "--latent", "8", "--snapshot-kimg", "0.02"]


def run(*arguments: str, fault: str = "") -> subprocess.CompletedProcess:
    environment = {**os.environ, "ATLAS_FAULT": fault, "OMP_NUM_THREADS": "1"}
    command = [str(ATLAS), "train", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=300)


def test_runs_resumes_and_lengthens(tiny_dataset, tmp_path):
    call = ["--data", str(tiny_dataset), "--out", str(tmp_path), *TINY]
    assert run(*call, "--kimg", "0.04", fault="train.iteration:8").returncode == -9
    resumed = run(*call, "--kimg", "0.04")
    assert resumed.returncode == 0, resumed.stderr
    assert "going on from 0.0 kimg" in resumed.stderr
    assert "up to date" in run(*call, "--kimg", "0.04").stderr
    longer = run(*call, "--kimg", "0.06")
    assert "going on" in longer.stderr
    assert len((tmp_path / "stats.jsonl").read_text().splitlines()) == 3
    record = json.loads((tmp_path / "stage.json").read_text())
    assert record["settings"]["kimg"] == 0.06
    assert record["settings"]["seed"] == 1
    assert record["settings"]["gamma"] > 0
    other = run(*call, "--kimg", "0.02", "--gamma", "3")
    assert other.returncode == 0, other.stderr
    assert len((tmp_path / "stats.jsonl").read_text().splitlines()) == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--precision", "fp16"], "fp16 needs a GPU"),
        (["--device", "toaster"], "device 'toaster' cannot be used"),
        (["--config", "huge"], "Invalid value for '--config'"),
        (["--batch", "6"], "multiple of 4"),
        (["--kimg", "0"], "kimg must be"),
        (["--p-max", "1.5"], "p_max must be"),
    ],
)
def test_bad_options_are_one_line_and_exit_code_2(options, message, tiny_dataset, tmp_path):
    refused = CliRunner().invoke(main, ["train", "--data", str(tiny_dataset), "--out", str(tmp_path / "out"), *options])
    assert refused.exit_code == 2
    assert message in refused.output
    assert refused.output.splitlines()[-1].startswith("Error: ")
    assert not (tmp_path / "out" / "stage.json").exists()


def test_a_file_that_is_no_dataset(tmp_path):
    (tmp_path / "dataset.zip").write_bytes(b"not a zip")
    refused = run("--data", str(tmp_path / "dataset.zip"), "--out", str(tmp_path / "out"))
    assert refused.returncode == 2
    assert "Traceback" not in refused.stderr
    assert "dataset.zip" in refused.stderr
