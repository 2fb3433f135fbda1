"""``atlas doctor``: what this machine can do."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import click

from atlas.commands.terminal import echo_json
from atlas.doctor import examine


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
def doctor(as_json: bool) -> None:
    """Say what this machine can do.

    \b
    Example:
        atlas doctor
    """
    findings = examine(Path())
    if as_json:
        echo_json([dataclasses.asdict(finding) for finding in findings])
        return
    width = max(len(finding.name) for finding in findings)
    for finding in findings:
        mark = "yes" if finding.found else "no "
        click.echo(f"{mark}  {finding.name:<{width}}  {finding.detail}  (for {finding.purpose})")
