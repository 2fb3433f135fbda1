import json
import subprocess
import sys
from pathlib import Path

from click.testing import CliRunner

from atlas.cli import main
from atlas.doctor import examine, find_browser


def test_it_looks_at_everything():
    findings = {finding.name: finding for finding in examine(Path())}
    assert set(findings) >= {
        "Python", "PyTorch", "GPU", "C++ compiler", "ninja", "JPEG codec", "AVIF codec", "Chromium", "Free disk",
    }  # fmt: skip
    assert findings["Python"].found
    assert findings["JPEG codec"].found
    assert all(finding.detail and finding.purpose for finding in findings.values())


def test_what_is_absent_is_said(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    findings = {finding.name: finding for finding in examine(tmp_path / "not" / "there" / "yet")}
    assert find_browser() is None
    for name in ("Chromium", "C++ compiler", "GPU"):
        assert not findings[name].found
    assert "apt install chromium" in findings["Chromium"].detail


def test_the_first_browser_on_the_path(monkeypatch, tmp_path):
    for name in ("google-chrome", "chromium-browser"):
        (tmp_path / name).touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_browser() == str(tmp_path / "chromium-browser")


def test_the_command():
    result = CliRunner().invoke(main, ["doctor"])
    assert result.exit_code == 0
    assert "Free disk" in result.output
    value = json.loads(CliRunner().invoke(main, ["doctor", "--json"]).stdout)
    assert all(set(finding) == {"name", "found", "detail", "purpose"} for finding in value)


def test_it_imports_no_torch():
    code = (
        "import sys; from pathlib import Path; from atlas.doctor import examine;"
        "examine(Path()); print('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
