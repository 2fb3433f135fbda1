"""What ``torchrun`` started, told without PyTorch, which not every command that asks needs."""

from __future__ import annotations

import os

from atlas.errors import InputError


def processes_started() -> int:
    """Return how many processes ``torchrun`` started together, of which this is one; 1 without it."""
    return int(os.environ["WORLD_SIZE"]) if "TORCHELASTIC_RUN_ID" in os.environ else 1


def refuse_several(command: str) -> None:
    """Refuse to do one process's work in several, which would write the same files.

    Args:
        command: what was asked for, such as "atlas run".

    Raises:
        InputError: there are several.
    """
    count = processes_started()
    if count > 1:
        raise InputError(
            f"{command} is one process, and torchrun started {count}: start the stage's own command under torchrun, "
            "atlas train or atlas encoder train"
        )
