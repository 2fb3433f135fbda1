"""Writes the docstrings of all public names as pages into build/api: `make api`."""

from importlib import import_module
from pathlib import Path

import pdoc

PACKAGES = ("atlas", "pipeline.photos", "pipeline.gan", "pipeline.inversion", "pipeline.boundaries", "pipeline.metrics")

for package in PACKAGES:
    module = import_module(package)
    for name in module.__all__:
        setattr(module, name, getattr(module, name))  # pdoc lists what a module holds; these load when first used
pdoc.pdoc(*PACKAGES, output_directory=Path("build/api"))
