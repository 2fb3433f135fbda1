"""What commands share: a progress bar that is absent when nobody watches, and JSON output."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import click

from atlas.progress import Progress, silent


@contextmanager
def progress_bar(label: str) -> Iterator[Progress]:
    """Give a `Progress` that draws a bar on standard error from the first news on, and nothing where nobody watches."""
    if not sys.stderr.isatty():
        yield silent
        return
    with ExitStack() as stack:
        bar = click.progressbar(length=1, label=label, file=sys.stderr)

        def update(done: int, total: int) -> None:
            if bar.length == 1 and bar.pos == 0:
                stack.enter_context(bar)
            bar.length = total
            bar.update(done - bar.pos)

        yield update


def say(line: str) -> None:
    """Print one line of news on standard error, where it does not mix with results."""
    click.echo(line, err=True)


def echo_json(value: Any) -> None:
    """Print ``value`` as JSON on standard output."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False))
