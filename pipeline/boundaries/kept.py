"""Parts of a long piece of work, kept beside its result until all is done, so that a killed run need not start over."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from atlas.faults import fault_point
from atlas.files import read_json, remove_partials, write_json


class Kept:
    """Remembers JSON-able parts in a folder.

    Args:
        folder: holds a file a part; removed by `forget`.
        resume: whether parts of a killed run of exactly this work may be used.
    """

    def __init__(self, folder: Path, resume: bool) -> None:
        self._folder = folder
        if resume and folder.is_dir():
            remove_partials(folder)
        else:
            self.forget()

    def __call__(self, name: str, make: Callable[[], Any]) -> Any:
        """Return the part ``name``, made only if no earlier run has left it."""
        path = self._folder / f"{name}.json"
        if not path.is_file():
            write_json(path, make())
            fault_point("boundaries.part")
        # Read back in either case, so that a resumed run goes on with the very same values.
        return read_json(path)

    def forget(self) -> None:
        """Remove all parts."""
        shutil.rmtree(self._folder, ignore_errors=True)
