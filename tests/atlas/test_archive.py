import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from atlas import open_atlas
from atlas.archive import ArchiveWriter
from atlas.errors import InputError
from atlas.faults import fault_point


def test_round_trip_by_steps(archive, helpers):
    info = helpers.info()
    opened = open_atlas(archive)
    assert opened.info == info
    image = opened.image(base=1, health=-1, income=0, education=1)
    assert image.dtype == np.uint8
    assert (image == helpers.plane(info, 1, 0)[1, 2]).all()
    assert (opened.image() == helpers.plane(info, 0, 1)[1, 1]).all()
    assert (opened.plane(1, 2) == helpers.plane(info, 1, 2)).all()
    bases, directions = helpers.codes(info)
    scores, typicality = helpers.scores(info)
    assert (opened.bases == bases).all()
    assert (opened.directions == directions).all()
    assert (opened.scores == scores).all()
    assert (opened.typicality == typicality).all()
    assert list(opened.faults()) == []


def test_a_node_outside_the_grid(archive):
    with pytest.raises(IndexError, match="education must be −1 … \\+1, got 2"):
        open_atlas(archive).image(education=2)


def test_format_on_disk(archive):
    group = json.loads((archive / "zarr.json").read_text())
    assert group["zarr_format"] == 3
    attributes = group["attributes"]
    assert list(attributes) == [
        "format", "format_version", "title", "name", "axes", "steps", "bases", "size", "num_ws", "w_dim", "method",
        "generator_sha256", "boundaries_sha256", "licence", "attribution", "truncation", "seed", "software", "complete",
    ]  # fmt: skip
    assert attributes["axes"] == ["health", "income", "education"]
    for name in ("images", "bases", "directions", "scores", "typicality"):
        array = json.loads((archive / name / "zarr.json").read_text())
        assert all(array["dimension_names"]), name
        text = json.dumps(array["codecs"])
        assert text.count("crc32c") == (2 if name == "images" else 1), name
    images = json.loads((archive / "images" / "zarr.json").read_text())
    assert images["chunk_grid"]["configuration"]["chunk_shape"] == [1, 1, 3, 3, 16, 16, 3]
    assert images["codecs"][0]["configuration"]["chunk_shape"] == [1, 1, 1, 1, 16, 16, 3]
    assert len(list((archive / "images" / "c").rglob("0"))) > 0
    assert sum(p.is_file() for p in (archive / "images" / "c").rglob("*")) == 2 * 3


def test_warnings_are_carried_where_there_are_any(tmp_path, helpers):
    info = helpers.info(warnings=("little is left of income", "<b>"))
    path = helpers.archive(tmp_path / "warned.zarr", info)
    attributes = json.loads((path / "zarr.json").read_text())["attributes"]
    assert attributes["warnings"] == ["little is left of income", "<b>"]
    assert open_atlas(path).info == info
    attributes["warnings"] = [1]
    group = json.loads((path / "zarr.json").read_text()) | {"attributes": attributes}
    (path / "zarr.json").write_text(json.dumps(group))
    with pytest.raises(InputError, match="warnings must be a list of sentences"):
        open_atlas(path)


def test_black_images_are_images(tmp_path, helpers):
    info = helpers.info(bases=1)
    writer = ArchiveWriter.create(tmp_path / "x.zarr", info, *helpers.codes(info), resume=False)
    for health in range(3):
        writer.write_plane(0, health, np.zeros((3, 3, 16, 16, 3), np.uint8))
        assert writer.has_plane(0, health)
    writer.finish(np.zeros((1, 3, 3, 3, 3), "f4"), np.zeros((1, 3, 3, 3), "f4"))
    assert list(open_atlas(tmp_path / "x.zarr").faults()) == []


def test_same_input_same_bytes(archive, tmp_path, helpers):
    again = helpers.archive(tmp_path / "test.zarr")
    assert helpers.tree(again) == helpers.tree(archive)


def test_resuming_keeps_planes_and_ends_in_the_same_bytes(archive, tmp_path, helpers):
    info, path = helpers.info(), tmp_path / "test.zarr"
    writer = ArchiveWriter.create(path, info, *helpers.codes(info), resume=False)
    writer.write_plane(0, 1, helpers.plane(info, 0, 1))
    shard = path / "images/c/0/1/0/0/0/0/0"
    before = shard.stat().st_mtime_ns
    (shard.parent / "0.abc.partial").write_bytes(b"half")
    helpers.archive(path, resume=True)
    assert shard.stat().st_mtime_ns == before
    assert helpers.tree(path) == helpers.tree(archive)
    helpers.archive(path, resume=True)  # a finished one too
    assert shard.stat().st_mtime_ns == before
    assert helpers.tree(path) == helpers.tree(archive)


@pytest.mark.parametrize("change", ["info", "bases", "directions"])
def test_another_atlas_is_not_gone_on_with(tmp_path, helpers, change):
    info, path = helpers.info(), tmp_path / "test.zarr"
    helpers.archive(path)
    other = helpers.info(seed=2) if change == "info" else info
    bases, directions = helpers.codes(info)
    if change == "bases":
        bases[0, 0, 0] += 1
    if change == "directions":
        directions[0, 0, 0] += 1
    writer = ArchiveWriter.create(path, other, bases, directions, resume=True)
    assert not any(writer.has_plane(*plane) for plane in info.grid.planes())
    with pytest.raises(InputError, match="unfinished"):
        open_atlas(path)


def test_starting_over_keeps_nothing(tmp_path, helpers):
    info, path = helpers.info(), helpers.archive(tmp_path / "test.zarr")
    writer = ArchiveWriter.create(path, info, *helpers.codes(info), resume=False)
    assert not writer.has_plane(0, 0)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["test.zarr"]


def test_a_strangers_folder_is_not_replaced(tmp_path, helpers):
    info, path = helpers.info(), tmp_path / "photos"
    path.mkdir()
    (path / "holiday.jpg").write_bytes(b"dear")
    with pytest.raises(InputError, match="is not an archive"):
        ArchiveWriter.create(path, info, *helpers.codes(info), resume=True)
    assert (path / "holiday.jpg").read_bytes() == b"dear"


def test_finishing_with_a_hole(tmp_path, helpers):
    info = helpers.info()
    writer = ArchiveWriter.create(tmp_path / "x.zarr", info, *helpers.codes(info), resume=False)
    writer.write_plane(0, 0, helpers.plane(info, 0, 0))
    with pytest.raises(InputError, match="lacks 5 of 6 planes, the first is base 0, health index 1"):
        writer.finish(*helpers.scores(info))


def test_wrong_arrays(tmp_path, helpers):
    info = helpers.info()
    bases, directions = helpers.codes(info)
    with pytest.raises(InputError, match="directions must have the shape"):
        ArchiveWriter.create(tmp_path / "x.zarr", info, bases, directions[:2], resume=False)
    bases[0, 0, 0] = np.nan
    with pytest.raises(InputError, match="bases must be finite"):
        ArchiveWriter.create(tmp_path / "x.zarr", info, bases, directions, resume=False)
    writer = ArchiveWriter.create(tmp_path / "x.zarr", info, *helpers.codes(info), resume=False)
    with pytest.raises(InputError, match="a plane must be uint8"):
        writer.write_plane(0, 0, helpers.plane(info, 0, 0).astype(np.float32))
    helpers.archive(tmp_path / "x.zarr", resume=True)
    scores, typicality = helpers.scores(info)
    with pytest.raises(InputError, match="typicality must be 0 … 1"):
        writer.finish(scores, typicality + 1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"base_names": ("a",)}, "one name per base"),
        ({"base_names": ("a", "a")}, "must be different"),
        ({"size": 0}, "must be positive"),
    ],
)
def test_info_that_contradicts_itself(helpers, changes, message):
    with pytest.raises(InputError, match=message):
        helpers.info(**changes)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        ({"complete": False}, "unfinished"),
        ({"complete": 1}, "unfinished"),
        ({"format": "zarr of somebody"}, "must say format"),
        ({"format_version": 2}, "format version 2"),
        ({"axes": ["income", "health", "education"]}, "axes must be health, income, education"),
        ({"steps": 2}, "images must be uint8"),
        ({"steps": "1"}, "steps must be of type int"),
        ({"title": None}, "title must be of type str"),
        ({"bases": ["a", 3]}, "list of names"),
    ],
)
def test_foreign_and_unfinished_archives(tmp_path, helpers, edit, message):
    path = helpers.archive(tmp_path / "x.zarr")
    group = json.loads((path / "zarr.json").read_text())
    group["attributes"].update(edit)
    (path / "zarr.json").write_text(json.dumps(group))
    with pytest.raises(InputError, match=message):
        open_atlas(path)


def test_a_missing_array_or_attribute(tmp_path, helpers):
    path = helpers.archive(tmp_path / "x.zarr")
    (path / "scores" / "zarr.json").unlink()
    with pytest.raises(InputError, match="array scores is missing"):
        open_atlas(path)
    group = json.loads((path / "zarr.json").read_text())
    del group["attributes"]["seed"]
    (path / "zarr.json").write_text(json.dumps(group))
    with pytest.raises(InputError, match="attribute seed is missing"):
        open_atlas(path)


def test_nothing_there(tmp_path):
    with pytest.raises(InputError, match="no folder is there"):
        open_atlas(tmp_path / "nothing.zarr")
    with pytest.raises(InputError, match="not a Zarr group"):
        open_atlas(tmp_path)


def test_damage_is_an_error_and_never_black(tmp_path, helpers):
    path = helpers.archive(tmp_path / "x.zarr")
    shard = path / "images/c/1/0/0/0/0/0/0"
    data = bytearray(shard.read_bytes())
    data[40] ^= 1
    shard.write_bytes(data)
    opened = open_atlas(path)
    with pytest.raises(InputError, match="base 1, health index 0 … 0 are damaged"):
        opened.plane(1, 0)
    shard.unlink()
    with pytest.raises(InputError, match="lacks the plane of base 1, health index 0"):
        opened.image(base=1, health=-1)


WRITE = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
import conftest
conftest.make_archive(Path(sys.argv[1]), resume=True)
"""


@pytest.mark.parametrize("passing", [1, 4, 6])
def test_killed_while_rendering(archive, tmp_path, helpers, passing):
    path = tmp_path / "test.zarr"
    command = [sys.executable, "-c", WRITE, str(path), str(Path(__file__).parent)]
    killed = subprocess.run(command, env={**os.environ, "ATLAS_FAULT": f"render.shard:{passing}"}, check=False)
    assert killed.returncode == -9
    shards = sorted((path / "images/c").rglob("0"))
    kept = {p: p.stat().st_mtime_ns for p in shards if p.is_file()}
    assert len(kept) == passing
    subprocess.run(command, check=True)
    assert {p: p.stat().st_mtime_ns for p in kept} == kept
    assert helpers.tree(path) == helpers.tree(archive)


def test_fault_points_cost_nothing_when_unarmed(monkeypatch):
    monkeypatch.delenv("ATLAS_FAULT", raising=False)
    fault_point("render.shard")
