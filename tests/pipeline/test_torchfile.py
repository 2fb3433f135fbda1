"""A .pt file is read as data or refused."""

import argparse
import contextlib
import os
import random
import warnings
import zipfile
from pathlib import Path

import pytest
import torch

from atlas.errors import InputError
from pipeline.torchfile import read_torch_file


class Payload:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch {self.marker}",)


def test_tensors_and_a_command_line_are_read(tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    torch.save({"g": {"weight": torch.arange(3.0)}, "args": argparse.Namespace(size=32)}, path)
    found = read_torch_file(path)
    assert torch.equal(found["g"]["weight"], torch.arange(3.0))
    assert found["args"].size == 32


def test_a_payload_is_refused_and_not_run(tmp_path: Path) -> None:
    path, marker = tmp_path / "a.pt", tmp_path / "ran"
    torch.save({"g": Payload(marker)}, path)
    with pytest.raises(InputError, match="nothing in it was run"):
        read_torch_file(path)
    assert not marker.exists()


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"not a checkpoint"])
def test_a_broken_file_is_one_clear_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.pt"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"a\.pt"):
        read_torch_file(path)


def test_a_compressed_file_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    torch.save({"weight": torch.zeros(100_000)}, tmp_path / "a.pt")
    with zipfile.ZipFile(tmp_path / "a.pt") as saved, zipfile.ZipFile(tmp_path / "b.pt", "w") as packed:
        for entry in saved.infolist():
            packed.writestr(entry.filename, saved.read(entry), zipfile.ZIP_DEFLATED)
    with pytest.raises(InputError, match=r"b\.pt is compressed or claims more than it holds"):
        read_torch_file(tmp_path / "b.pt")


@pytest.mark.parametrize("zipped", [True, False])
def test_a_storage_that_is_declared_larger_than_it_is(tmp_path: Path, zipped: bool) -> None:
    """Its length stands in the pickle, as one byte: 6 becomes 2³¹ − 1 numbers."""
    torch.save({"weight": torch.arange(6.0)}, tmp_path / "a.pt", _use_new_zipfile_serialization=zipped)
    data = (tmp_path / "a.pt").read_bytes()
    declared = data.index(b"cpu") + 3
    found = data.index(b"K\x06", declared)
    if not zipped:
        (tmp_path / "b.pt").write_bytes(data[:found] + b"J\xff\xff\xff\x7f" + data[found + 2 :])
    else:
        with zipfile.ZipFile(tmp_path / "a.pt") as saved, zipfile.ZipFile(tmp_path / "b.pt", "w") as changed:
            for entry in saved.infolist():
                changed.writestr(entry.filename, saved.read(entry).replace(b"K\x06", b"J\xff\xff\xff\x7f"))
    with pytest.raises(InputError, match=r"b\.pt is not a whole file"):
        read_torch_file(tmp_path / "b.pt")


@pytest.mark.parametrize("zipped", [True, False])
def test_random_changes_end_in_data_or_one_error(tmp_path: Path, zipped: bool) -> None:
    torch.save(
        {"a": torch.arange(6.0), "b": [torch.ones(2), 3]}, tmp_path / "a.pt", _use_new_zipfile_serialization=zipped
    )
    whole = (tmp_path / "a.pt").read_bytes()
    chance = random.Random(1)
    for _ in range(150):
        data = bytearray(whole)
        for _ in range(chance.randint(1, 3)):
            data[chance.randrange(len(data))] = chance.randrange(256)
        (tmp_path / "b.pt").write_bytes(data)
        with contextlib.suppress(InputError), warnings.catch_warnings(action="ignore"):
            read_torch_file(tmp_path / "b.pt")


def test_a_list_and_an_absent_file_are_named(tmp_path: Path) -> None:
    torch.save([1], tmp_path / "a.pt")
    with pytest.raises(InputError, match="dictionary"):
        read_torch_file(tmp_path / "a.pt")
    with pytest.raises(InputError, match="no checkpoint"):
        read_torch_file(tmp_path / "b.pt")
