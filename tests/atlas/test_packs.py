import base64
import json
import os
import re
import subprocess
import sys

import numpy as np
import pytest

from atlas.archive import ArchiveWriter, open_atlas
from atlas.codec import decode_jpeg, encode_jpeg, sheet, shrink
from atlas.errors import InputError
from atlas.layout import key_steps
from atlas.manifest import check_packs, read_manifest
from atlas.packs import build_packs
from atlas.preset import PackSettings


@pytest.fixture(scope="module")
def packs(archive, tmp_path_factory):
    out = tmp_path_factory.mktemp("packs")
    build_packs(archive, out, PackSettings(quality=90))
    return out


def cell_of(folder, entry, x, y, size):
    return decode_jpeg((folder / entry.file).read_bytes(), entry.file)[y : y + size, x : x + size]


def test_every_node_is_where_the_manifest_says(archive, packs):
    """Each cell is the archive's image: nearer to it than to any other node's, and close."""
    opened, manifest = open_atlas(archive), read_manifest(packs / "packs.json")
    grid, size = opened.grid, opened.info.size
    for base in range(grid.bases):
        images = np.stack([opened.plane(base, h) for h in range(grid.side)]).astype(int)
        for index in np.ndindex(images.shape[:3]):
            pack, cell = manifest.sheets.locate(index)
            found = cell_of(packs, manifest.bases[base].sheets[pack], *manifest.sheets.corner(cell), size)
            distance = np.abs(images - found).mean(axis=(3, 4, 5))
            assert np.unravel_index(distance.argmin(), distance.shape) == index
            assert distance[index] < 4


def test_original_key_and_thumbnails(archive, packs):
    opened, manifest = open_atlas(archive), read_manifest(packs / "packs.json")
    size, files = opened.info.size, manifest.bases[1]
    original = decode_jpeg((packs / files.original.file).read_bytes(), "original")
    assert np.abs(original.astype(int) - opened.image(base=1)).mean() < 4
    for cell, (h, i, e) in enumerate(key_steps(1)):
        found = cell_of(packs, files.key, *manifest.key.corner(cell), size)
        assert np.abs(found.astype(int) - opened.image(base=1, health=h, income=i, education=e)).mean() < 4
    thumbs = manifest.thumbs
    assert decode_jpeg((packs / files.thumbs.file).read_bytes(), "thumbs").shape[:2][::-1] == thumbs.pixels()
    cell = thumbs.nearest((1, -1, 0))
    x, y = cell % thumbs.columns * thumbs.pitch, cell // thumbs.columns * thumbs.pitch
    found = cell_of(packs, files.thumbs, x, y, thumbs.size)
    assert np.abs(found.astype(int) - opened.image(base=1, health=1, income=-1)).mean() < 12


def test_the_script_of_a_street(archive, packs):
    opened, manifest = open_atlas(archive), read_manifest(packs / "packs.json")
    for base, files in enumerate(manifest.bases):
        text = (packs / files.street.file).read_text()
        key, value = re.fullmatch(r'ATLAS\.put\("(street \d+)", (.*)\);\n', text).groups()
        assert key == f"street {base}"
        value = json.loads(value)
        assert [f"a/{base}/sheet-{p}.{h}.jpg" for p, h in enumerate(value["sheets"])] == [e.file for e in files.sheets]
        shares = np.frombuffer(base64.b64decode(value["typicality"]), np.uint8).reshape(3, 3, 3)
        assert np.abs(shares / 255 - opened.typicality[base]).max() <= 0.5 / 255 + 1e-6


def test_names_lengths_and_hashes(packs):
    manifest = read_manifest(packs / "packs.json")
    assert list(check_packs(packs, manifest)) == []
    on_disk = {p.relative_to(packs).as_posix() for p in (packs / "a").rglob("*") if p.is_file()}
    assert on_disk == {entry.file for entry in manifest.files()}
    assert all((packs / e.file).stat().st_size == e.length for e in manifest.files())
    assert sorted(p.name for p in packs.iterdir()) == ["a", "packs.json"]


def test_same_archive_same_bytes(archive, packs, tmp_path, helpers):
    build_packs(archive, tmp_path, PackSettings(quality=90))
    assert helpers.tree(tmp_path) == helpers.tree(packs)


BUILD = """
import sys
from pathlib import Path
from atlas.packs import build_packs
from atlas.preset import PackSettings
build_packs(Path(sys.argv[1]), Path(sys.argv[2]), PackSettings(quality=90), resume=True)
"""


@pytest.mark.parametrize("passing", [1, 5])
def test_killed_and_gone_on(archive, packs, tmp_path, helpers, passing):
    command = [sys.executable, "-c", BUILD, str(archive), str(tmp_path)]
    killed = subprocess.run(command, env={**os.environ, "ATLAS_FAULT": f"pack.file:{passing}"}, check=False)
    assert killed.returncode == -9
    assert not (tmp_path / "packs.json").exists()
    kept = {p: p.stat().st_mtime_ns for p in (tmp_path / "a").rglob("*.jpg")}
    assert len(kept) >= passing
    subprocess.run(command, check=True)
    assert {p: p.stat().st_mtime_ns for p in kept} == kept
    assert helpers.tree(tmp_path) == helpers.tree(packs)


def test_gone_on_after_the_last_file(archive, packs, tmp_path, helpers):
    build_packs(archive, tmp_path, PackSettings(quality=90))
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "a").rglob("*.jpg")}
    build_packs(archive, tmp_path, PackSettings(quality=90), resume=True)
    assert {p: p.stat().st_mtime_ns for p in before} == before


def test_files_of_other_settings_are_never_kept(archive, packs, tmp_path, helpers):
    build_packs(archive, tmp_path, PackSettings(quality=30))
    build_packs(archive, tmp_path, PackSettings(quality=90), resume=True)
    assert helpers.tree(tmp_path) == helpers.tree(packs)


def test_a_damaged_file_is_made_again(archive, packs, tmp_path, helpers):
    build_packs(archive, tmp_path, PackSettings(quality=90))
    manifest = read_manifest(tmp_path / "packs.json")
    damaged = tmp_path / manifest.bases[0].sheets[0].file
    damaged.write_bytes(damaged.read_bytes()[:-10])
    (tmp_path / manifest.bases[1].key.file).unlink()
    faults = list(check_packs(tmp_path, manifest))
    assert [f.rpartition(" is ")[0].split("/")[1] for f in faults[:1]] == ["0"]
    assert len(faults) == 2
    build_packs(archive, tmp_path, PackSettings(quality=90), resume=True)
    assert helpers.tree(tmp_path) == helpers.tree(packs)


def test_a_strangers_folder_is_left_alone(archive, tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "letter.txt").write_text("dear")
    with pytest.raises(InputError, match="did not make"):
        build_packs(archive, tmp_path, PackSettings())
    assert (tmp_path / "a" / "letter.txt").read_text() == "dear"


def test_a_damaged_archive_is_refused(tmp_path, helpers):
    path = helpers.archive(tmp_path / "x.zarr")
    (path / "images/c/0/1/0/0/0/0/0").unlink()
    with pytest.raises(InputError, match="lacks the plane of base 0, health index 1"):
        build_packs(path, tmp_path / "packs", PackSettings())


# The codec


def test_luma_never_crosses_a_cell():
    """A black cell among white ones decodes to black to its last row and column."""
    for size in (16, 40, 64):
        pitch = -(-size // 16) * 16
        cells = np.full((9, size, size, 3), 255, np.uint8)
        cells[4] = 0
        picture = decode_jpeg(encode_jpeg(sheet(cells, 3, pitch, 0), 80), "sheet")
        assert picture[pitch : pitch + size, pitch : pitch + size].max() <= 2
        assert picture[pitch : pitch + size, :size].min() >= 253


def test_chroma_reaches_one_pixel_at_most():
    cells = np.zeros((9, 40, 40, 3), np.uint8)
    cells[:] = (0, 0, 255)
    cells[4] = (255, 0, 0)
    picture = decode_jpeg(encode_jpeg(sheet(cells, 3, 48, 0), 90), "sheet")[48:88, 48:88].astype(int)
    assert np.abs(picture[1:-1, 1:-1] - (255, 0, 0)).max() <= 4


def test_a_key_sheet_can_be_scaled_without_neighbours():
    cells = np.zeros((7, 40, 40, 3), np.uint8)
    cells[3] = 255
    picture = sheet(cells, 7, 64, 8)
    assert picture.shape == (64, 448, 3)
    assert (picture[:, 3 * 64 : 4 * 64] == 255).all()


def test_jpeg_is_progressive_and_chroma_is_halved():
    data = encode_jpeg(np.zeros((32, 32, 3), np.uint8), 80)
    assert b"\xff\xc2" in data
    frame = data[data.index(b"\xff\xc2") :]
    assert frame[11] == 0x22  # the sampling factors of luma
    assert b"Exif" not in data


@pytest.mark.parametrize("damage", [lambda d: d[:-40], lambda d: b"GIF89a" + d, lambda d: b""])
def test_bytes_that_are_no_jpeg(damage):
    rng = np.random.default_rng(0)
    data = encode_jpeg(rng.integers(0, 255, (64, 64, 3), dtype=np.uint8), 80)
    with pytest.raises(InputError, match=r"x\.jpg is not a whole JPEG"):
        decode_jpeg(damage(data), "x.jpg")


@pytest.mark.parametrize(
    ("side", "message"), [(9000, "at most 67108864 pixels, got 9000 × 9000"), (60000, "is not a whole JPEG")]
)
def test_a_header_that_promises_too_much(side, message):
    data = bytearray(encode_jpeg(np.zeros((32, 32, 3), np.uint8), 80))
    at = data.index(b"\xff\xc2")
    data[at + 5 : at + 9] = side.to_bytes(2, "big") * 2
    with pytest.raises(InputError, match=message):
        decode_jpeg(bytes(data), "x.jpg")


def test_shrinking():
    images = np.full((2, 64, 64, 3), 90, np.uint8)
    assert (shrink(images, 16) == 90).all()
    assert shrink(images, 16).shape == (2, 16, 16, 3)
    assert shrink(images, 64) is images


def test_the_writer_and_the_packs_agree_on_a_grid_of_one_step(tmp_path, helpers):
    info = helpers.info(bases=1, size=24)
    path = helpers.archive(tmp_path / "x.zarr", info)
    manifest = build_packs(path, tmp_path / "packs", PackSettings())
    assert manifest.sheets.pitch == 32
    assert ArchiveWriter.create(path, info, *helpers.codes(info), resume=True).has_plane(0, 2)
