"""The page on the Python interface: it names every public name, and its session runs."""

import importlib
import os
import re
import subprocess
import sys

import numpy as np
import pytest

PAGE = "docs/api.md"
BLOCK = re.compile(r"^```(sh|python)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
ROW = re.compile(r"^\| `([a-z.]+)` \| (.+) \|$", re.MULTILINE)


@pytest.fixture(scope="module")
def page(repository):
    return (repository / PAGE).read_text(encoding="utf-8")


def test_every_public_name_is_listed_and_no_other(page):
    rows = dict(ROW.findall(page))
    assert len(rows) == 6
    for package, names in rows.items():
        public = [name for name in importlib.import_module(package).__all__ if not name.startswith("__")]
        assert re.findall(r"`(\w+)`", names) == sorted(public), package


def test_every_public_name_has_a_docstring(page):
    for package, _ in ROW.findall(page):
        module = importlib.import_module(package)
        for name in module.__all__:
            assert getattr(module, name).__doc__, f"{package}.{name}"


def test_the_session_runs(page, repository, tmp_path, monkeypatch):
    (tmp_path / "samples").symlink_to(repository / "samples")
    monkeypatch.chdir(tmp_path)
    session: dict = {}
    env = {**os.environ, "PYTHONPATH": str(repository)}
    for kind, text in BLOCK.findall(page):
        if kind == "sh":
            command = text.replace("atlas ", f"{sys.executable} -m atlas ", 1)
            subprocess.run(["bash", "-euc", command], env=env, check=True, capture_output=True)
        else:
            exec(compile(text, PAGE, "exec"), session)
    assert session["images"].shape == session["again"].shape == (4, 3, 64, 64)
    assert session["pixels"].dtype == np.uint8
    assert session["percentiles"].shape == (240, 3)
    error, usual = ((session[name] - session["photographs"][:4]).square().mean() for name in ("again", "images"))
    assert error < 0.5 * usual  # the inversions of these four, against samples of no photograph in particular
    extreme, scores = session["extreme"], session["scores"]
    assert ((scores > 0) == (session["health"] >= 0.8))[extreme].mean() > 0.9
    assert np.isfinite(session["usual"]).all()
    assert np.isfinite(session["kid"].value)
