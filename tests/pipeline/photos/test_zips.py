"""Zips from elsewhere: nothing in one leads outside or fills the memory."""

import stat
import struct
import zipfile

import pytest

from atlas.errors import InputError
from pipeline.photos.sources import open_source
from pipeline.photos.zips import checked_members, open_zip, read_member


def make_zip(path, *infos):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for info, data in infos:
            archive.writestr(info, data)


def member(name, mode=0o100644):
    info = zipfile.ZipInfo(name)
    info.external_attr = mode << 16
    info.compress_type = zipfile.ZIP_DEFLATED
    return info


@pytest.mark.parametrize(
    ("info", "fault"),
    [
        (member("/etc/passwd"), "has an absolute path"),
        (member("C:/windows/a.jpg"), "has an absolute path"),
        (member("../a.jpg"), "leads outside its folder"),
        (member("a/../../b.jpg"), "leads outside its folder"),
        (member("link.jpg", stat.S_IFLNK | 0o777), "is a symbolic link"),
    ],
)
def test_unsafe_members(tmp_path, info, fault):
    make_zip(tmp_path / "a.zip", (member("fine.jpg"), b"1"), (info, b"/etc/passwd"))
    with open_zip(tmp_path / "a.zip") as archive, pytest.raises(InputError, match=fault):
        checked_members(archive, tmp_path / "a.zip")
    with pytest.raises(InputError, match=fault), open_source(tmp_path / "a.zip"):
        pass


def test_a_name_twice(tmp_path):
    with pytest.warns(UserWarning, match="Duplicate"):
        make_zip(tmp_path / "a.zip", (member("a.jpg"), b"1"), (member("a.jpg"), b"2"))
    with open_zip(tmp_path / "a.zip") as archive, pytest.raises(InputError, match="is there twice"):
        checked_members(archive, tmp_path / "a.zip")


def test_an_encrypted_member(tmp_path):
    make_zip(tmp_path / "a.zip", (member("a.jpg"), b"1"))
    data = bytearray((tmp_path / "a.zip").read_bytes())
    data[data.rindex(b"PK\x01\x02") + 8] |= 1
    (tmp_path / "a.zip").write_bytes(data)
    with open_zip(tmp_path / "a.zip") as archive, pytest.raises(InputError, match="is encrypted"):
        checked_members(archive, tmp_path / "a.zip")


def test_folders_are_no_files(tmp_path):
    make_zip(tmp_path / "a.zip", (member("folder/", 0o040755), b""), (member("folder/a.jpg"), b"1"))
    with open_source(tmp_path / "a.zip") as source:
        assert source.absent(["folder/", "folder/a.jpg", "b.jpg"]) == ["folder/", "b.jpg"]
        assert source.read("folder/a.jpg") == b"1"


def test_a_member_larger_than_is_read(tmp_path):
    make_zip(tmp_path / "a.zip", (member("bomb"), bytes(1_000_000)))
    with open_zip(tmp_path / "a.zip") as archive, pytest.raises(InputError, match="at most 1000 are read"):
        read_member(archive, tmp_path / "a.zip", archive.getinfo("bomb"), limit=1000)


def test_a_member_that_lies_about_its_size(tmp_path):
    path = tmp_path / "a.zip"
    make_zip(path, (member("bomb"), bytes(1_000_000)))
    data = path.read_bytes()
    path.write_bytes(data.replace(struct.pack("<I", 1_000_000), struct.pack("<I", 500)))
    with open_zip(path) as archive, pytest.raises(InputError, match="is damaged"):
        read_member(archive, path, archive.getinfo("bomb"), limit=1000)


def test_a_member_that_is_damaged(tmp_path):
    path = tmp_path / "a.zip"
    make_zip(path, (member("a"), bytes(range(256)) * 20))
    data = bytearray(path.read_bytes())
    data[40:60] = b"\xff" * 20
    path.write_bytes(data)
    with open_zip(path) as archive, pytest.raises(InputError, match="'a' is damaged"):
        read_member(archive, path, archive.getinfo("a"))


@pytest.mark.parametrize("name", ["/etc/hostname", "../outside.jpg", "a\\..\\..\\b.jpg", "link.jpg", "x\0.jpg"])
def test_a_folder_is_not_left(tmp_path, name):
    folder = tmp_path / "photos"
    folder.mkdir()
    (tmp_path / "outside.jpg").write_bytes(b"secret")
    (folder / "link.jpg").symlink_to(tmp_path / "outside.jpg")
    with open_source(folder) as source, pytest.raises(InputError, match=r"inside|outside"):
        source.absent([name])


def test_a_folder_is_read(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "a.jpg").write_bytes(b"1")
    with open_source(tmp_path) as source:
        assert source.absent(["sub/a.jpg", "sub", "b.jpg"]) == ["sub", "b.jpg"]
        assert source.read("sub/a.jpg") == b"1"
