"""The promises of the command line: instant help, no PyTorch without need, one clear line on bad input."""

import importlib
import inspect
import subprocess
import sys
import time

import click
import pytest
from click.testing import CliRunner

from atlas.cli import COMMANDS, main
from atlas.errors import InputError


def python(code, *arguments):
    return subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)


LOADED = (
    "import sys\n{work}\n"
    "print(' '.join(sorted({{m.partition('.')[0] for m in sys.modules}} "
    "& {{'torch', 'zarr', 'PIL', 'numpy', 'pipeline', 'jinja2', 'sklearn'}})))"
)


def test_import_atlas_loads_nothing_heavy():
    done = python(LOADED.format(work="import atlas; atlas.AtlasError"))
    assert (done.returncode, done.stdout.strip()) == (0, "")


def test_help_loads_nothing_heavy():
    work = "from click.testing import CliRunner; from atlas.cli import main; CliRunner().invoke(main, ['--help'])"
    assert python(LOADED.format(work=work)).stdout.strip() == ""


@pytest.mark.parametrize("command", ["plan", "pack", "site", "serve", "verify", "doctor"])
def test_commands_of_a_plain_installation_load_no_pipeline_and_no_torch(command):
    work = (
        "from click.testing import CliRunner; from atlas.cli import main\n"
        f"assert CliRunner().invoke(main, [{command!r}, '--help']).exit_code == 0"
    )
    done = python(LOADED.format(work=work))
    assert done.returncode == 0, done.stderr
    assert {"torch", "pipeline", "sklearn"}.isdisjoint(done.stdout.split())


@pytest.mark.parametrize(
    "work", ["import atlas", "import sys; sys.argv = ['atlas', '--help']; import atlas.cli; atlas.cli.main()"]
)
def test_starting_takes_under_three_tenths_of_a_second(work):
    seconds = []
    for _ in range(5):
        start = time.perf_counter()
        assert python(work).returncode == 0
        seconds.append(time.perf_counter() - start)
    assert min(seconds) < 0.3


def commands(group, path=()):
    for name in group.list_commands(click.Context(group)):
        command = group.get_command(click.Context(group), name)
        yield (*path, name), command
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))


def test_each_command_s_line_in_the_overview_is_its_own_first_line():
    for name, (module, line) in COMMANDS.items():
        module, _, attribute = module.partition(":")
        command = getattr(importlib.import_module(module), attribute)
        assert inspect.cleandoc(command.help).splitlines()[0] == line, name


def test_every_command_has_help_with_an_example():
    runner = CliRunner()
    for path, command in commands(main):
        shown = runner.invoke(main, [*path, "--help"])
        assert shown.exit_code == 0, (path, shown.output)
        if not isinstance(command, click.Group):
            assert f"atlas {' '.join(path)}" in shown.output.partition("Example")[2], f"{path} shows no example"


def test_every_command_is_in_the_readme(repository):
    readme = (repository / "README.md").read_text()
    for path, command in commands(main):
        if not isinstance(command, click.Group):
            assert f"atlas {' '.join(path)}" in readme, f"README.md does not mention atlas {' '.join(path)}"


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (InputError("photos.csv has\nno column lat"), "Error: photos.csv has no column lat\n"),
        (FileNotFoundError(2, "No such file or directory", "x.zip"), "Error: x.zip: No such file or directory\n"),
    ],
)
def test_an_error_for_a_person_is_one_line_and_exit_code_2(monkeypatch, error, line):
    def fail():
        raise error

    module = importlib.import_module("atlas.commands.doctor")
    monkeypatch.setattr(module, "doctor", click.Command("doctor", callback=fail))
    shown = CliRunner().invoke(main, ["doctor"])
    assert (shown.exit_code, shown.stderr) == (2, line)


def test_a_bug_is_not_dressed_up_as_bad_input(monkeypatch):
    def fail():
        raise RuntimeError("a bug")

    module = importlib.import_module("atlas.commands.doctor")
    monkeypatch.setattr(module, "doctor", click.Command("doctor", callback=fail))
    assert isinstance(CliRunner().invoke(main, ["doctor"]).exception, RuntimeError)


def test_without_the_pipeline_a_pipeline_command_says_what_to_install():
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from atlas.cli import main; sys.argv = ['atlas', 'render', '--help']; main()"
    )
    done = python(code)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "needs torch, which is not installed" in done.stderr
    assert "inequality-atlas[pipeline]" in done.stderr


def test_an_unknown_command_is_refused():
    shown = CliRunner().invoke(main, ["nonsense"], prog_name="atlas")
    assert shown.exit_code == 2
    assert shown.stderr == "Error: No such command 'nonsense'. See `atlas --help`.\n"


def test_a_wrong_option_is_one_line_that_names_the_help():
    shown = CliRunner().invoke(main, ["pack", "x.zarr", "--colour", "red"], prog_name="atlas")
    assert (shown.exit_code, shown.stderr.count("\n")) == (2, 1)
    assert "See `atlas pack --help`." in shown.stderr
