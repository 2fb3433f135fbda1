"""Faults on purpose: each is found, named, and the only one."""

import json
import shutil

import numpy as np
import pytest
import zarr
from click.testing import CliRunner

from atlas.cli import main
from atlas.errors import InputError
from atlas.packs import build_packs
from atlas.preset import PackSettings, SiteSettings
from atlas.site import build_site
from atlas.verify import verify


@pytest.fixture(scope="module")
def sound(archive, tmp_path_factory):
    """An archive, packs and a site, all sound."""
    root = tmp_path_factory.mktemp("sound")
    shutil.copytree(archive, root / "archive")
    build_packs(root / "archive", root / "packs", PackSettings())
    build_site(root / "packs", root / "site", report=None, settings=SiteSettings())
    return root


@pytest.fixture
def copy(sound, tmp_path):
    def make(name):
        return shutil.copytree(sound / name, tmp_path / name)

    return make


def flip(path, at=-30):
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def one(folder, name):
    return next(folder.rglob(name))


@pytest.mark.parametrize("kind", ["archive", "packs", "site"])
def test_sound(sound, kind):
    verdict = verify(sound / kind)
    assert verdict.kind == kind
    assert verdict.faults == ()


# Archives


@pytest.mark.parametrize("at", [10, 300, -2, -30])
def test_a_flipped_bit_in_a_shard(copy, at):
    path = copy("archive")
    flip(path / "images/c/1/2/0/0/0/0/0", at)
    (fault,) = verify(path).faults
    assert "base 1, health index 2" in fault


def test_every_byte_of_a_shard_is_covered(copy):
    path = copy("archive")
    shard = path / "images/c/0/0/0/0/0/0/0"
    whole = shard.read_bytes()
    rng = np.random.default_rng(3)
    for at in rng.choice(len(whole), 12, replace=False):
        shard.write_bytes(whole)
        flip(shard, at)
        assert len(verify(path).faults) == 1, at


def test_a_missing_shard(copy):
    path = copy("archive")
    (path / "images/c/0/1/0/0/0/0/0").unlink()
    assert verify(path).faults == ("images: base 0, health index 1: the shard is missing",)


def test_a_shard_cut_short(copy):
    path = copy("archive")
    shard = path / "images/c/0/1/0/0/0/0/0"
    for length in (0, 50, -1):
        shard.write_bytes(shard.read_bytes()[:length])
        (fault,) = verify(path).faults
        assert fault.startswith("images: base 0, health index 1")


def test_an_image_that_was_never_written(copy):
    path = copy("archive")
    images = zarr.open_group(path, mode="r+")["images"]
    images[0, 0, 1, 1] = 0  # as another program would: it leaves a chunk of zeros out
    (fault,) = verify(path).faults
    assert fault == "images: base 0, health index 0: 1 images are missing from the shard"


@pytest.mark.parametrize("name", ["bases", "directions", "scores", "typicality"])
def test_damaged_and_missing_floats(copy, name):
    path = copy("archive")
    chunk = next(p for p in sorted((path / name / "c").rglob("*")) if p.is_file())
    flip(chunk)
    (fault,) = verify(path).faults
    assert fault.startswith(f"{name}: ")
    chunk.unlink()
    (fault,) = verify(path).faults
    assert "is missing" in fault


def test_an_extra_file_in_the_archive(copy):
    path = copy("archive")
    (path / "images" / "notes.txt").write_text("?")
    assert verify(path).faults == ("images/notes.txt: not a file of the archive",)


def test_values_out_of_range_and_names_that_are_missing(copy):
    path = copy("archive")
    zarr.open_group(path, mode="r+")["typicality"][0, 0, 0, 0] = 1.5
    assert verify(path).faults == ("typicality: must be 0 … 1",)
    zarr.open_group(path, mode="r+")["typicality"][0, 0, 0, 0] = np.nan
    assert "typicality: holds values that are not finite" in verify(path).faults
    metadata = json.loads((path / "bases" / "zarr.json").read_text())
    metadata["dimension_names"] = None
    (path / "bases" / "zarr.json").write_text(json.dumps(metadata))
    assert "bases: dimension_names must be base, num_ws, w_dim" in verify(path).faults


def test_an_unfinished_archive_is_a_fault(copy):
    path = copy("archive")
    text = (path / "zarr.json").read_text()
    (path / "zarr.json").write_text(text.replace('"complete": true', '"complete": false'))
    (fault,) = verify(path).faults
    assert "is unfinished" in fault


# Packs and sites


@pytest.mark.parametrize("kind", ["packs", "site"])
def test_a_flipped_bit_in_a_sprite(copy, kind):
    path = copy(kind)
    flip(one(path, "sheet-0.*.jpg"))
    faults = verify(path).faults
    assert len(faults) >= 1
    assert "is damaged" in faults[0]
    assert "sheet-0" in faults[0]


def test_a_truncated_sprite_does_not_decode(copy):
    path = copy("site")
    sprite = one(path, "sheet-0.*.jpg")
    sprite.write_bytes(sprite.read_bytes()[:-200])
    faults = verify(path).faults
    assert any("is damaged" in fault for fault in faults)
    assert any("is not a whole JPEG" in fault for fault in faults)


def test_a_sprite_of_another_size(copy):
    path = copy("site")
    one(path, "thumbs.*.jpg").write_bytes(one(path, "original.*.jpg").read_bytes())
    assert any("must be" in fault and "pixels" in fault for fault in verify(path).faults)


def test_a_missing_sprite(copy):
    path = copy("site")
    sprite = one(path, "key.*.jpg")
    sprite.unlink()
    faults = verify(path).faults
    assert faults[0] == f"{sprite.relative_to(path)} is missing"
    assert all(sprite.name in fault for fault in faults)


def test_an_extra_file_in_the_folder_that_the_build_owns(copy):
    path = copy("site")
    (path / "a" / "0" / "extra.jpg").write_bytes(b"?")
    (path / "CNAME").write_text("example.org")
    assert verify(path).faults == ("a/0/extra.jpg is not a file of this atlas, and the folder a must hold no others",)


def test_a_record_of_the_stage_is_no_fault(copy):
    path = copy("site")
    (path / "stage.json").write_text("{}")
    assert verify(path).faults == ()


def test_manifests_that_disagree(copy):
    path = copy("site")
    script = path / "manifest.js"
    script.write_text(script.read_text().replace('"quality": 80', '"quality": 81'))
    assert "manifest.js does not say the same as manifest.json" in verify(path).faults
    script.write_text("var ATLAS_MANIFEST = {;")
    assert "manifest.js does not say the same as manifest.json" in verify(path).faults


@pytest.mark.parametrize("name", ["manifest.json", "manifest.js", "manifest-sha256.txt", "index.html", "404.html"])
def test_a_missing_document(copy, name):
    path = copy("site")
    (path / name).unlink()
    assert f"{name} is missing" in verify(path).faults


def test_a_list_that_leaves_its_folder(copy):
    path = copy("site")
    (path / "manifest-sha256.txt").write_text(f"{'0' * 64}  ../secret\n")
    assert any("line 1 must be a SHA-256" in fault for fault in verify(path).faults)


def test_a_page_that_refers_to_nothing(copy):
    path = copy("site")
    page = path / "index.html"
    page.write_text(page.read_text().replace('href="manifest-sha256.txt"', 'href="gone.txt"'))
    assert "index.html refers to gone.txt, which is not there" in verify(path).faults


def test_a_street_that_names_other_sheets(copy):
    path = copy("packs")
    script = one(path, "street.*.js")
    script.write_text(script.read_text().replace('"sheets":["', '"sheets":["0'))
    assert any("does not name the sheets" in fault for fault in verify(path).faults)


# The command


def run(*arguments):
    return CliRunner().invoke(main, ["verify", *map(str, arguments)])


def test_exit_codes_and_json(sound, copy, tmp_path):
    result = run(sound / "site", "--json")
    assert result.exit_code == 0
    assert json.loads(result.stdout)["faults"] == []
    path = copy("site")
    one(path, "key.*.jpg").unlink()
    result = run(path, "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["faults"]
    assert "is missing" in run(path).output
    for nothing in (tmp_path / "nothing", tmp_path):
        result = run(nothing)
        assert result.exit_code == 2
        assert result.output.count("\n") == 1


def test_neither(tmp_path):
    with pytest.raises(InputError, match="neither an archive"):
        verify(tmp_path)
