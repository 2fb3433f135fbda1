"""Commands that are one process say so under torchrun, and do nothing."""

import os
import subprocess
import sys

import pytest
from click.testing import CliRunner

from atlas.cli import main
from pipeline.torchrun import processes_started


@pytest.mark.slow
def test_the_whole_chain_is_refused_by_each_process_of_several(tmp_path):
    """As torchrun really starts them."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "atlas"]
    done = subprocess.run(
        [*launcher, "run", "calibration", "--out", str(tmp_path / "run")],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode != 0
    assert "atlas run is one process, and torchrun started 2: start the stage's own command under" in done.stderr
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("arguments", [["run", "calibration"], ["demo"]])
def test_the_refusal_is_one_line(arguments, tmp_path, monkeypatch):
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    monkeypatch.setenv("WORLD_SIZE", "3")
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 2
    (line,) = done.output.strip().splitlines()
    assert f"atlas {arguments[0]} is one process, and torchrun started 3" in line
    assert list(tmp_path.iterdir()) == []


def test_one_process_is_no_several(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "4")  # set by other launchers too
    assert processes_started() == 1
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    assert processes_started() == 4
    monkeypatch.setenv("WORLD_SIZE", "1")
    assert processes_started() == 1
