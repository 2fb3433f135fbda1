"""Zips made to do harm, given to the commands: each is refused with one clear line, and nothing is written."""

import io
import json
import stat
import zipfile

import numpy as np
import pytest
from PIL import Image

from pipeline.photos.dataset import Photo, write_dataset


def png(side):
    """A picture of nothing: a few kilobytes that unfold to side² pixels."""
    stream = io.BytesIO()
    Image.new("1", (side, side)).save(stream, "PNG")
    return stream.getvalue()


def member(name, mode=0o100644):
    info = zipfile.ZipInfo(name)
    info.external_attr = mode << 16
    info.compress_type = zipfile.ZIP_DEFLATED
    return info


def header(width, height):
    data = bytearray(png(1))
    data[16:24] = width.to_bytes(4, "big") + height.to_bytes(4, "big")
    return bytes(data)


HARM = {
    "absolute path": (member("/etc/cron.d/p2.jpg"), b"x", "has an absolute path"),
    "drive": (member("C:\\p2.jpg"), b"x", "has an absolute path"),
    "dots": (member("../../p2.jpg"), b"x", "leads outside its folder"),
    "symlink": (member("link.jpg", stat.S_IFLNK | 0o777), b"/etc/passwd", "is a symbolic link"),
    "ten gigapixels": (member("p2.jpg"), header(100_000, 100_000), "cannot be decoded: p2.jpg"),
    "decompression bomb in a picture": (member("p2.jpg"), png(9_500), "cannot be decoded: p2.jpg"),
    "decompression bomb in the zip": (member("p2.jpg"), bytes(257 * 2**20), "at most 268435456 are read"),
}


@pytest.mark.parametrize("case", HARM)
def test_a_harmful_zip_is_refused(region, atlas, case):
    info, data, said = HARM[case]
    region.photos.pop("p2.jpg")
    arguments = region.command()
    with zipfile.ZipFile(region.folder / "photos.zip", "a") as archive:
        archive.writestr(info, data)
    result = atlas(*arguments)
    assert (result.exit_code, len(result.stderr.splitlines())) == (2, 1), result.output
    assert said in result.stderr
    assert not region.out.exists()
    assert list(region.out.parent.glob("*.partial")) == []


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1.5, None, "0.5"])
def test_a_label_that_is_no_share(tmp_path, atlas, value):
    path = tmp_path / "d.zip"
    photo = Photo("", "s", "i", 51.5, 0.0, "", "A", (1, 2, 3), (0.1, 0.5, 0.9), "E00000N05726")
    write_dataset(path, [(photo, np.zeros((4, 4, 3), np.uint8))], {})
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    labels = json.loads(members["dataset.json"])
    labels["labels"][0][1][1] = value
    members["dataset.json"] = json.dumps(labels).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    result = atlas("dataset", "check", path)
    assert (result.exit_code, len(result.stderr.splitlines())) == (2, 1), result.output
    assert "the label of '00000/img00000000.png' must be three numbers 0 … 1" in result.stderr


def test_the_sheet_of_the_street(tmp_path, atlas):
    out, sheet = tmp_path / "c.zip", tmp_path / "street.jpg"
    result = atlas("dataset", "calibration", "--photographs", "9", "--size", "16", "--out", out, "--sheet", sheet)
    assert result.exit_code == 0, result.stderr
    assert Image.open(sheet).size == (8 * 20 + 4, 2 * 20 + 4)
