"""How long work reports how far it is, without knowing who listens."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Called as work advances: ``done`` units of ``total``."""

    def __call__(self, done: int, total: int) -> None:
        """Take the news."""


def silent(done: int, total: int) -> None:
    """Ignore progress."""
