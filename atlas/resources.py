"""Where the templates, presets and samples are: inside the package in a wheel, beside it in a checkout."""

from __future__ import annotations

from pathlib import Path


def resource_folder(name: str) -> Path:
    """Return the folder ``templates``, ``presets`` or ``samples`` of this installation.

    Raises:
        FileNotFoundError: neither place has it: the installation is broken.
    """
    package = Path(__file__).resolve().parent
    for candidate in (package / name, package.parent / name):
        if candidate.is_dir():
            return candidate
    raise FileNotFoundError(f"this installation has no {name}: install inequality-atlas again")
