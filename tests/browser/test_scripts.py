"""The page's scripts under Node's own test runner, against the worked rows of SPEC.md."""

import shutil
import subprocess
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parent


@pytest.mark.skipif(
    shutil.which("node") is None, reason="Node is not installed: the scripts are tested in Chromium only"
)
def test_scripts_in_node():
    files = sorted(str(path) for path in FOLDER.glob("*.test.cjs"))
    assert len(files) == 2
    result = subprocess.run(["node", "--test", *files], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout
    assert "# fail 0" in result.stdout
