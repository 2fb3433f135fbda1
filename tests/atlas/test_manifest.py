import copy
import json

import pytest

from atlas.errors import InputError
from atlas.manifest import parse_manifest, read_manifest
from atlas.packs import build_packs
from atlas.preset import PackSettings


@pytest.fixture(scope="module")
def value(archive, tmp_path_factory):
    out = tmp_path_factory.mktemp("packs")
    build_packs(archive, out, PackSettings())
    return json.loads((out / "packs.json").read_text())


def test_reading_is_the_inverse_of_writing(value):
    assert parse_manifest(value, "packs.json").to_json() == value


def test_it_carries_the_atlas_and_every_hash(value, archive):
    attributes = json.loads((archive / "zarr.json").read_text())["attributes"]
    del attributes["complete"]
    assert value["atlas"] == attributes
    entries = [e for b in value["bases"] for e in (b["original"], b["key"], b["thumbs"], b["street"], *b["sheets"])]
    assert all(len(e["sha256"]) == 64 and e["file"].split(".")[1] == e["sha256"][:12] for e in entries)


def changed(value, *path_and_new):
    *path, last, new = path_and_new
    value = copy.deepcopy(value)
    target = value
    for key in path:
        target = target[key]
    if new is ...:
        del target[last]
    else:
        target[last] = new
    return value


@pytest.mark.parametrize(
    ("path", "new", "message"),
    [
        (("format",), "something", "must say format"),
        (("format_version",), 9, "format version 9"),
        (("layout",), ..., "the key layout is missing"),
        (("layout", "sheets", "block"), [1, 2], "not a manifest"),
        (("layout", "sheets", "block"), [0, 1, 1], "must be positive"),
        (("layout", "sheets", "columns"), "many", "not a manifest"),
        (("bases", 0, "sheets"), [], "base 0 must have 1 sheets, got 0"),
        (("bases", 1), ..., "files of 2 bases, got 1"),
        (("bases", 0, "key", "file"), "a/0/../../../etc/passwd", "not the name of a pack's file"),
        (("bases", 0, "key", "file"), "/etc/passwd", "not the name of a pack's file"),
        (("bases", 0, "key", "sha256"), "0" * 64, "does not carry its own SHA-256"),
        (("atlas", "bases"), ["a", "a"], "must be different"),
    ],
)
def test_what_cannot_be_right_is_refused(value, path, new, message):
    with pytest.raises(InputError, match=message):
        parse_manifest(changed(value, *path, new), "packs.json")


def test_other_shapes_of_json():
    for value in ([], "text", None, 3):
        with pytest.raises(InputError, match="must be a JSON object"):
            parse_manifest(value, "packs.json")


def test_absent_and_broken_files(tmp_path):
    with pytest.raises(InputError, match="written by `atlas pack`"):
        read_manifest(tmp_path / "packs.json")
    (tmp_path / "packs.json").write_text('{"format": ')
    with pytest.raises(InputError, match="not valid JSON"):
        read_manifest(tmp_path / "packs.json")
