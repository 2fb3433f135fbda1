"""``atlas verify``: every fault of an archive, packs or a site."""

from __future__ import annotations

from pathlib import Path

import click

from atlas.commands.terminal import echo_json
from atlas.verify import verify as check


@click.command()
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print the faults as JSON.")
@click.pass_context
def verify(ctx: click.Context, path: Path, as_json: bool) -> None:
    """Check an archive or a site; name each fault.

    Exit code 0: sound, 1: faults, 2: PATH is nothing that can be checked. Packs can be checked too.

    \b
    Example:
        atlas verify site --json
    """
    verdict = check(path)
    if as_json:
        echo_json({"path": str(path), "kind": verdict.kind, "faults": list(verdict.faults)})
    else:
        for fault in verdict.faults:
            click.echo(fault)
        count = len(verdict.faults)
        click.echo(f"{path}: {verdict.kind}, " + (f"{count} fault{'s' * (count != 1)}" if count else "sound"))
    ctx.exit(1 if verdict.faults else 0)
