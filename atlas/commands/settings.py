"""Options of a command made from a section of the preset: one place for types, choices and defaults."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, get_type_hints

import click

from atlas.preset import override

Command = Callable[..., Any]

seed_option = click.option("--seed", default=1, show_default=True, type=click.IntRange(0, 2**31 - 1))
device_option = click.option(
    "--device", default="cpu", show_default=True, help="Where PyTorch runs: cpu, cuda, cuda:1 …"
)


def settings_options(kind: type, **helps: str) -> Callable[[Command], Command]:
    """Give a command an option for each named field of ``kind`` and pass it one ``settings``, checked.

    Args:
        kind: a section of the preset, such as `atlas.preset.RenderSettings`.
        helps: by field, what the option's help says; the default is added.

    The decorated function takes ``settings`` in place of the single options.
    """
    hints = get_type_hints(kind)
    fields = {field.name: field for field in dataclasses.fields(kind)}

    def decorate(function: Command) -> Command:
        @functools.wraps(function)
        def command(*args: Any, **given: Any) -> Any:
            chosen = {name: given.pop(name) for name in helps}
            return function(*args, settings=override(kind(), **chosen), **given)

        decorated: Command = command
        for name in reversed(helps):
            decorated = _option(fields[name], hints[name], helps[name])(decorated)
        return decorated

    return decorate


def _option(field: dataclasses.Field[Any], hint: type, text: str) -> Callable[[Command], Command]:
    dashed = field.name.replace("_", "-")
    if hint is bool:
        default = "yes" if field.default else "no"
        return click.option(f"--{dashed}/--no-{dashed}", default=None, help=f"{text}  [default: {default}]")
    choices = field.metadata.get("choices")
    shown = f"  [default: {field.default}]" if field.default != "" else ""
    return click.option(f"--{dashed}", type=click.Choice(choices) if choices else hint, help=text + shown)
