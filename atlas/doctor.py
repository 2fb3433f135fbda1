"""What this machine can do, found without importing anything heavy."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from dataclasses import dataclass
from importlib import metadata, util
from pathlib import Path

from atlas.codec import codecs

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


@dataclass(frozen=True)
class Finding:
    """One line of the doctor: a thing, whether it is there, what was found, and what it is for."""

    name: str
    found: bool
    detail: str
    purpose: str


def examine(folder: Path) -> list[Finding]:
    """Look at this machine.

    Args:
        folder: where output would go; its disk is looked at.
    """
    return [
        _python(),
        _torch(),
        _gpu(),
        _compiler(),
        _ninja(),
        _nvcc(),
        *_codecs(),
        _browser(),
        _node(),
        _cores(),
        _disk(folder),
    ]


def find_browser() -> str | None:
    """Return the path of a Chromium, or None."""
    return next((path for name in BROWSERS if (path := shutil.which(name))), None)


def _python() -> Finding:
    good = tuple(int(part) for part in platform.python_version_tuple()[:2]) >= (3, 11)
    return Finding("Python", good, platform.python_version(), "everything; 3.11 or later")


def _torch() -> Finding:
    purpose = "training, inversion, rendering"
    if util.find_spec("torch") is None:
        return Finding("PyTorch", False, 'not installed: pip install "inequality-atlas[pipeline]"', purpose)
    return Finding("PyTorch", True, metadata.version("torch"), purpose)


def _gpu() -> Finding:
    purpose = "training at 256 px and more"
    query = ["nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader"]
    try:
        answer = subprocess.run(query, capture_output=True, text=True, timeout=10, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return Finding("GPU", False, "no NVIDIA GPU that answers; everything runs on the CPU, slowly", purpose)
    return Finding("GPU", bool(answer), "; ".join(answer.splitlines()), purpose)


def _compiler() -> Finding:
    path = next((found for name in ("c++", "g++", "clang++") if (found := shutil.which(name))), None)
    return Finding("C++ compiler", path is not None, path or "none", "faster operators; optional")


def _ninja() -> Finding:
    installed = util.find_spec("ninja") is not None or shutil.which("ninja") is not None
    return Finding("ninja", installed, "present" if installed else "none", "faster operators; optional")


def _nvcc() -> Finding:
    path = shutil.which("nvcc")
    return Finding("CUDA compiler", path is not None, path or "none", "faster operators on a GPU; optional")


def _codecs() -> list[Finding]:
    versions = codecs()
    purposes = {"jpeg": "packs", "avif": "smaller packs"}
    return [
        Finding(f"{name.upper()} codec", bool(versions[name]), versions[name] or "none in this Pillow", purpose)
        for name, purpose in purposes.items()
    ]


def _browser() -> Finding:
    path = find_browser()
    return Finding("Chromium", path is not None, path or "none: apt install chromium", "the browser tests")


def _node() -> Finding:
    path = shutil.which("node")
    return Finding("Node", path is not None, path or "none", "the tests of the page's scripts; optional")


def _cores() -> Finding:
    return Finding("CPU cores", True, str(os.cpu_count()), "speed")


def _disk(folder: Path) -> Finding:
    existing = next(p for p in (folder, *folder.absolute().parents) if p.exists())
    free = shutil.disk_usage(existing).free
    return Finding("Free disk", free > 2_000_000_000, f"{free / 1e9:.1f} GB", "archives; 2 GB for the sample")
