"""What an installed wheel carries, in an environment that has no checkout."""

import subprocess
import sys
import zipfile

import pytest


@pytest.fixture(scope="module")
def wheel(repository, tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--wheel-dir",
        str(folder),
        str(repository),
    ]
    subprocess.run(command, check=True)
    return next(folder.glob("*.whl"))


def test_the_wheel_carries_templates_and_presets_and_no_tests(wheel, repository):
    names = set(zipfile.ZipFile(wheel).namelist())
    for folder in ("templates", "presets"):
        for path in (repository / folder).rglob("*"):
            if path.is_file():
                assert f"atlas/{path.relative_to(repository).as_posix()}" in names
    assert not [n for n in names if n.startswith(("tests/", "site/", "templates/", "presets/"))]


def test_the_version_is_one(repository):
    import tomllib

    from atlas import __version__

    assert tomllib.loads((repository / "pyproject.toml").read_text())["project"]["version"] == __version__
    assert f"version: {__version__}" in (repository / "CITATION.cff").read_text()
