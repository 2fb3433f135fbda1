"""What an installed wheel carries, where there is no checkout, no PyTorch and no pipeline."""

import os
import subprocess
import sys
import tomllib
import zipfile

import numpy as np
import pytest

import atlas
from atlas.archive import ArchiveInfo, ArchiveWriter
from atlas.grid import Grid
from pipeline.gan.native.build import CPU_SOURCES, CUDA_SOURCES, HEADERS
from pipeline.photos.calibration.street import make_calibration

# Runs the command line with PyTorch and everything else that only the pipeline needs made impossible to import.
PLAIN = (
    "import sys\n"
    "for name in ('torch', 'sklearn', 'scipy', 'shapely', 'safetensors'): sys.modules[name] = None\n"
    "import atlas; assert atlas.__file__.startswith({home!r}), atlas.__file__\n"
    "from atlas.cli import main; main()"
)


@pytest.fixture(scope="module")
def wheel(repository, tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir"]
    subprocess.run([*command, str(folder), str(repository)], check=True)
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """The wheel unpacked where nothing else is; gives a function that runs its command line there."""
    home = tmp_path_factory.mktemp("home")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(home), str(wheel)]
    subprocess.run(command, check=True)

    def run(*arguments, cwd):
        code, env = PLAIN.format(home=str(home)), {**os.environ, "PYTHONPATH": str(home)}
        command = [sys.executable, "-c", code, *map(str, arguments)]
        return subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, check=False)

    return run


def make_archive(path):
    info = ArchiveInfo(
        title="Small",
        name="small",
        grid=Grid(bases=1, steps=1),
        size=16,
        num_ws=2,
        w_dim=4,
        method="projector",
        generator_sha256="a" * 64,
        boundaries_sha256="b" * 64,
        licence="CC0-1.0",
        attribution="Nobody",
        truncation=0.7,
        seed=1,
        base_names=("Street 1",),
    )
    rng = np.random.default_rng(0)
    codes = rng.standard_normal((1, 2, 4)).astype("f4"), rng.standard_normal((3, 2, 4)).astype("f4")
    writer = ArchiveWriter.create(path, info, *codes, resume=False)
    for base, health in info.grid.planes():
        writer.write_plane(base, health, rng.integers(0, 255, (3, 3, 16, 16, 3), dtype=np.uint8))
    writer.finish(np.zeros((1, 3, 3, 3, 3), "f4"), np.ones((1, 3, 3, 3), "f4"))


def test_the_wheel_carries_templates_and_presets_and_no_tests(wheel, repository):
    names = set(zipfile.ZipFile(wheel).namelist())
    for folder in ("templates", "presets", "samples"):
        for path in (repository / folder).rglob("*"):
            if path.is_file():
                assert f"atlas/{path.relative_to(repository).as_posix()}" in names
    sources = {f"pipeline/gan/native/{name}" for name in (*CPU_SOURCES, *CUDA_SOURCES, *HEADERS)}
    assert sources <= names
    assert not [n for n in names if n.startswith(("tests/", "site/", "templates/", "presets/", "samples/"))]


def test_an_installed_wheel_packs_builds_and_verifies_anywhere(installed, tmp_path):
    make_archive(tmp_path / "small.zarr")
    for arguments in (
        ("pack", "small.zarr", "--out", "packs"),
        ("site", "packs", "--out", "public"),
        ("verify", "public"),
        ("verify", "small.zarr"),
        ("plan", "presets/paper.toml"),
    ):
        done = installed(*arguments, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    assert (tmp_path / "public" / "index.html").is_file()


@pytest.mark.parametrize(
    "arguments", [("render", "--help"), ("train", "--data", "dataset.zip", "--out", "train", "--kimg", "0.1")]
)
def test_a_plain_installation_says_what_a_pipeline_command_needs(installed, tmp_path, arguments):
    make_calibration(tmp_path / "dataset.zip", photographs=4, size=16, seed=1)
    done = installed(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("Error: this command needs ")
    assert "Traceback" not in done.stderr
    assert "inequality-atlas[pipeline]" in done.stderr


def test_the_version_is_one(repository):
    declared = tomllib.loads((repository / "pyproject.toml").read_text())["project"]["version"]
    assert declared == atlas.__version__
    assert f"version: {declared}" in (repository / "CITATION.cff").read_text()
