"""What commands say about options that do not go together."""

from __future__ import annotations

import click
from click.core import ParameterSource

from atlas.errors import InputError


def refuse_unused(where: str, *names: str) -> None:
    """Refuse options of the command that runs which were given and would change nothing.

    Args:
        where: they change nothing, such as "with --method e4e".
        names: of the options' parameters, such as "keep_noise".

    Raises:
        InputError: one or more were given on the command line; all are named.
    """
    context = click.get_current_context()
    given = [
        parameter.opts[0]
        for parameter in context.command.params
        if parameter.name in names and context.get_parameter_source(parameter.name) is ParameterSource.COMMANDLINE
    ]
    if given:
        what = "it" if len(given) == 1 else "them"
        raise InputError(f"{', '.join(given)} would change nothing {where}: leave {what} out")
