"""A .pt file is read as data or refused."""

import argparse
import os
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


def test_a_list_and_an_absent_file_are_named(tmp_path: Path) -> None:
    torch.save([1], tmp_path / "a.pt")
    with pytest.raises(InputError, match="dictionary"):
        read_torch_file(tmp_path / "a.pt")
    with pytest.raises(InputError, match="no checkpoint"):
        read_torch_file(tmp_path / "b.pt")
