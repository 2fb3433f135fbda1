"""The command `atlas train`: it runs, goes on, lengthens, and refuses in one line."""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from click.testing import CliRunner

from atlas.cli import main

TINY = ["--batch", "4", "--channel-base", "64", "--channel-max", "8", "--latent", "8", "--snapshot-kimg", "0.02"]


def run(*arguments: str, fault: str = "") -> subprocess.CompletedProcess:
    """Run the command in this process, or, where a fault shall kill it, in one of its own."""
    command = ["train", *arguments]
    if not fault:
        done = CliRunner().invoke(main, command)
        return subprocess.CompletedProcess(command, done.exit_code, done.stdout, done.stderr)
    environment = {**os.environ, "ATLAS_FAULT": fault, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "atlas", *command]
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


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.mark.parametrize("finished", [True, False])
def test_another_run_in_the_folder_is_kept_unless_it_shall_be_lost(finished, tiny_dataset, tmp_path):
    out = tmp_path / "out"
    call = ["--data", str(tiny_dataset), "--out", str(out), *TINY]
    run(*call, "--kimg", "0.04", fault="" if finished else "train.iteration:8")
    before = contents(out)
    assert ("stage.json" in before) == finished
    for options, change in (
        (["--gamma", "3"], "gamma was 0.0128, now 3.0"),
        (["--seed", "2"], "seed was 1, now 2"),
        (["--kimg", "0.02"], "kimg was 0.04, now 0.02"),
        (["--no-colour"], "colour was as usual, now False"),
    ):
        refused = run(*call, "--kimg", "0.04", *options)
        assert refused.returncode == 2
        assert refused.stderr.splitlines()[-1].startswith("Error: ")
        assert f"holds an earlier run of train ({change})" in refused.stderr
        assert "--start-over" in refused.stderr
    assert contents(out) == before
    over = run(*call, "--kimg", "0.02", "--gamma", "3", "--start-over")
    assert over.returncode == 0, over.stderr
    assert len((out / "stats.jsonl").read_text().splitlines()) == 1
    assert json.loads((out / "stage.json").read_text())["settings"]["gamma"] == 3.0


def test_starting_over_with_the_same_settings_gives_the_same(tiny_dataset, tmp_path):
    call = ["--data", str(tiny_dataset), "--out", str(tmp_path), *TINY, "--kimg", "0.04"]
    run(*call, fault="train.iteration:8")
    over = run(*call, "--start-over")
    assert "going on" not in over.stderr
    finished = contents(tmp_path)
    again = run(*call, "--start-over")
    assert again.stderr.count("kimg, ") == 2  # it trained, though all was there
    del finished["stage.json"]
    assert {name: data for name, data in contents(tmp_path).items() if name != "stage.json"} == finished


def test_another_dataset_is_another_run(tiny_dataset, tmp_path):
    out, data = tmp_path / "out", tmp_path / "dataset.zip"
    shutil.copy(tiny_dataset, data)
    call = ["--data", str(data), "--out", str(out), *TINY, "--kimg", "0.02"]
    run(*call)
    with zipfile.ZipFile(data, "a") as archive:
        archive.comment = b"the same photographs in other bytes"
    refused = run(*call)
    assert refused.returncode == 2
    assert "holds an earlier run of train (another dataset)" in refused.stderr


def test_a_mistake_is_corrected_without_starting_over(tiny_dataset, tmp_path):
    call = ["--data", str(tiny_dataset), "--out", str(tmp_path / "out"), *TINY, "--kimg", "0.02"]
    assert run(*call, "--precision", "fp16").returncode == 2
    assert run(*call).returncode == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--precision", "fp16"], "fp16 needs a GPU"),
        (["--device", "toaster"], "device 'toaster' cannot be used"),
        (["--config", "huge"], "Invalid value for '--config'"),
        (["--batch", "6"], "multiple of 4"),
        (["--kimg", "0"], "kimg must be"),
        (["--p-max", "1.5"], "p_max must be"),
        (["--augment", "fixed", "--p", "0.95"], "train.p must be at most train.p_max"),
        (["--p", "0.1"], "--p says nothing with --augment ada: leave it out, or choose --augment fixed"),
        (["--augment", "fixed", "--target", "0.6"], "--target says nothing with --augment fixed"),
        (["--augment", "none", "--p-max", "0.5"], "--p-max says nothing with --augment none"),
        (["--augment", "none", "--no-blit"], "--blit says nothing with --augment none"),
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
