"""``atlas plan``: weight, time and hosts before anything is rendered."""

from __future__ import annotations

import click

from atlas.commands.terminal import echo_json
from atlas.hosts import HOSTS
from atlas.plan import Plan
from atlas.plan import plan as make_plan
from atlas.preset import find_preset, load_preset


@click.command()
@click.argument("preset")
@click.option("--size", type=click.IntRange(1), help="Pixels of an image, instead of the preset's.")
@click.option("--steps", type=click.IntRange(1), help="Steps to each side of the base, instead of the preset's.")
@click.option("--bases", type=click.IntRange(1), help="How many streets, instead of the preset's.")
@click.option("--host", type=click.Choice(list(HOSTS)), help="Only this host. All are listed without it.")
@click.option("--json", "as_json", is_flag=True, help="Print the plan as JSON.")
def plan(preset: str, size: int | None, steps: int | None, bases: int | None, host: str | None, as_json: bool) -> None:
    """Say what a grid will weigh, how long it takes and which hosts can carry it.

    PRESET is a TOML file or the name of a preset that is shipped. Weights follow from measured bytes per pixel, times
    are estimates; each says what it rests on.

    \b
    Example:
        atlas plan presets/paper.toml --size 256 --host github-pages --json
    """
    made = make_plan(load_preset(find_preset(preset)), size=size, steps=steps, bases=bases, host=host)
    if as_json:
        echo_json(made.to_json())
    else:
        click.echo("\n".join(_lines(made)))


def _lines(plan: Plan) -> list[str]:
    side, block = plan.grid.side, " × ".join(str(length) for length in plan.sheets.block)
    lines = [
        f"Images    {plan.grid.images:,} ({plan.grid.bases} streets × {side}³ steps) of {plan.size} px",
        f"Archive   {_size(plan.archive_bytes)}",
        f"Site      {_size(plan.bytes)} in {plan.files:,} files, about; largest {_size(plan.largest)}",
        f"Packs     {plan.sheets.packs * plan.grid.bases:,} JPEG sheets, each {block} steps",
        "",
        "Hosts",
    ]
    for fit in plan.hosts:
        lines.append(f"  {'yes' if fit.fits else 'no ':4}{fit.why}")
        lines.append(f"      {fit.host.note}")
    lines += ["", "Time, estimated"]
    for stage, (seconds, basis) in plan.seconds.items():
        lines.append(f"  {stage:8}{_duration(seconds):>10}  {basis}")
    return lines


def _size(count: int) -> str:
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("KB", 1e3)):
        if count >= scale:
            return f"{count / scale:.1f} {unit}"
    return f"{count} bytes"


def _duration(seconds: float) -> str:
    for unit, scale in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 1.5 * scale:
            return f"{seconds / scale:.1f} {unit}"
    return f"{seconds:.0f} seconds"
