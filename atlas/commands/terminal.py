"""What commands share: a progress bar that is absent when nobody watches, and JSON output."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click

from atlas.progress import Progress


@contextmanager
def progress_bar(label: str) -> Iterator[Progress]:
    """Give a `Progress` that draws a bar on standard error; click hides it when that is no terminal."""
    with click.progressbar(length=1, label=label, file=click.get_text_stream("stderr"), hidden=not _watched()) as bar:

        def update(done: int, total: int) -> None:
            bar.length = total
            bar.update(done - bar.pos)

        yield update


def _watched() -> bool:
    return click.get_text_stream("stderr").isatty()


def echo_json(value: Any) -> None:
    """Print ``value`` as JSON on standard output."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False))
