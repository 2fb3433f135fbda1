"""A small real archive, and the worked rows of SPEC.md."""

import re
from pathlib import Path

import numpy as np
import pytest

from atlas.archive import ArchiveInfo, ArchiveWriter
from atlas.grid import Grid

SPEC = Path(__file__).resolve().parents[2] / "atlas" / "SPEC.md"


def spec_rows(name):
    """The rows of one table of SPEC.md, each a dictionary of text."""
    _, _, after = SPEC.read_text().partition(f"<!-- rows: {name}")
    assert after, f"SPEC.md has no rows {name!r}"
    lines = re.search(r"\n((?:\|.*\n)+)", after)[1].splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return [dict(zip(cells[0], row, strict=True)) for row in cells[2:]]


def make_info(bases=2, steps=1, size=16, **changes):
    values = {
        "title": "A test",
        "name": "test",
        "grid": Grid(bases, steps),
        "size": size,
        "num_ws": 4,
        "w_dim": 8,
        "method": "projector",
        "generator_sha256": "a" * 64,
        "boundaries_sha256": "b" * 64,
        "licence": "CC0-1.0",
        "attribution": "Nobody",
        "truncation": 0.7,
        "seed": 1,
        "base_names": tuple(f"seed {i + 1}" for i in range(bases)),
    }
    return ArchiveInfo(**{**values, **changes})


def make_codes(info, seed=0):
    rng = np.random.default_rng(seed)
    shape = (info.num_ws, info.w_dim)
    return rng.normal(size=(info.grid.bases, *shape)).astype("f4"), rng.normal(size=(3, *shape)).astype("f4")


def make_plane(info, base, health):
    """Smooth pictures, each node another: a ramp whose three channels follow the three steps."""
    side, size = info.grid.side, info.size
    ramp = np.linspace(0, 60, size)
    planes = np.zeros((side, side, size, size, 3))
    planes += ramp[:, None, None] + 15 * base
    planes[..., 0] += 120 * health / (side - 1)
    planes[..., 1] += (120 * np.arange(side) / (side - 1))[:, None, None, None]
    planes[..., 2] += (120 * np.arange(side) / (side - 1))[None, :, None, None]
    return planes.round().astype(np.uint8)


def make_scores(info):
    shape = info.grid.shape
    rng = np.random.default_rng(7)
    return rng.normal(size=(*shape, 3)).astype("f4"), rng.random(shape).astype("f4")


def make_archive(path, info=None, resume=False):
    info = info or make_info()
    writer = ArchiveWriter.create(path, info, *make_codes(info), resume=resume)
    for base, health in info.grid.planes():
        if not writer.has_plane(base, health):
            writer.write_plane(base, health, make_plane(info, base, health))
    writer.finish(*make_scores(info))
    return path


def tree(folder):
    """Every file's bytes, but the records of stages."""
    return {
        p.relative_to(folder).as_posix(): p.read_bytes()
        for p in sorted(Path(folder).rglob("*"))
        if p.is_file() and not p.name.endswith(("stage.json", "stage.partial.json"))
    }


@pytest.fixture(scope="session")
def helpers():
    """The functions above, for tests, which cannot import a conftest."""
    from types import SimpleNamespace

    return SimpleNamespace(
        rows=spec_rows,
        info=make_info,
        codes=make_codes,
        plane=make_plane,
        scores=make_scores,
        archive=make_archive,
        tree=tree,
    )


@pytest.fixture(scope="session")
def archive(tmp_path_factory):
    """A finished archive, 2 bases of 3³ nodes of 16 px; not to be changed."""
    return make_archive(tmp_path_factory.mktemp("archive") / "test.zarr")
