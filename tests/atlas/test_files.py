import signal
import subprocess
import sys
from collections import namedtuple

import pytest

from atlas import files
from atlas.errors import InputError, SpaceError


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    target = tmp_path / "a.txt"
    target.write_text("old")
    with pytest.raises(IsADirectoryError), files.atomic_path(target) as temporary:
        temporary.write_bytes(b"half" + tmp_path.read_bytes())
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_writer_killed_in_the_middle_leaves_only_a_partial_that_can_be_removed(tmp_path):
    script = (
        "import os, signal, sys; from pathlib import Path; from atlas.files import atomic_path\n"
        "with atomic_path(Path(sys.argv[1])) as t:\n"
        "    t.write_text('half'); os.kill(os.getpid(), signal.SIGKILL)"
    )
    target = tmp_path / "deep" / "a.txt"
    done = subprocess.run([sys.executable, "-c", script, str(target)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert not target.exists()
    assert len(list(target.parent.iterdir())) == 1
    other = target.parent / ".b.txt.0.partial"
    other.write_text("another's")
    files.remove_partials_of(target)
    assert list(target.parent.iterdir()) == [other]
    files.remove_partials(tmp_path)
    assert list(target.parent.iterdir()) == []


def test_json_is_written_in_order_and_refuses_nan(tmp_path):
    path = tmp_path / "a.json"
    files.write_json(path, {"b": 1, "a": "ä"})
    assert path.read_bytes() == '{\n  "b": 1,\n  "a": "ä"\n}\n'.encode()
    with pytest.raises(ValueError, match="JSON"):
        files.write_json(path, {"b": float("nan")})
    assert files.read_json(path) == {"b": 1, "a": "ä"}


def test_broken_json_is_named(tmp_path):
    path = tmp_path / "a.json"
    path.write_text('{"a": }')
    with pytest.raises(InputError, match=r"a\.json is not valid JSON.*line 1"):
        files.read_json(path)


def test_a_folder_s_digest_sees_names_and_bytes_but_not_records(tmp_path):
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "one").write_text("1")
    first = files.sha256_path(tmp_path)
    (tmp_path / "stage.json").write_text("a clock")
    assert files.sha256_path(tmp_path) == first
    (tmp_path / "x" / "one").write_text("2")
    changed = files.sha256_path(tmp_path)
    (tmp_path / "x" / "one").rename(tmp_path / "x" / "two")
    assert len({first, changed, files.sha256_path(tmp_path)}) == 3


def test_too_little_room_is_said_before_writing(tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(files.shutil, "disk_usage", lambda path: usage(10**9, 0, 10**9))
    files.require_space(tmp_path / "new" / "folder", 10**9, "an archive")
    with pytest.raises(SpaceError, match=r"an archive needs 1\.00 GB .* 1\.00 GB free: make room"):
        files.require_space(tmp_path / "new" / "folder", 10**9 + 1, "an archive")
