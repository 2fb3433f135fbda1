"""TensorBoard's file: what it shows, that it holds no clock, and that its absence is said."""

import json

import pytest

from atlas.errors import InputError
from pipeline.gan import board
from pipeline.gan.board import Board

LINES = [{"kimg": 0.04, "p": 0.25, "r1": 1.5}, {"kimg": 0.08, "p": 0.5, "r1": -2.0}]


@pytest.fixture
def stats(tmp_path):
    path = tmp_path / "stats.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in LINES))
    return path


def test_tensorboard_reads_it(stats, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    Board(tmp_path).begin(stats)
    shown = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert sorted(shown.Tags()["scalars"]) == ["train/p", "train/r1"]
    assert [(e.step, e.value, e.wall_time) for e in shown.Scalars("train/r1")] == [(40, 1.5, 0.0), (80, -2.0, 0.0)]


def test_line_by_line_is_all_at_once(stats, tmp_path):
    Board(tmp_path).begin(stats)
    whole = Board(tmp_path).path.read_bytes()
    stats.write_text("")
    Board(tmp_path).begin(stats)
    for line in LINES:
        Board(tmp_path).add(line)
    assert Board(tmp_path).path.read_bytes() == whole


@pytest.mark.parametrize("line", ["{", "[]", '{"p": 1}', '{"kimg": 1, "p": "high"}'])
def test_a_line_of_another_hand(line, stats, tmp_path):
    stats.write_text(line + "\n")
    with pytest.raises(InputError, match=r"stats\.jsonl has a line that training did not write"):
        Board(tmp_path).begin(stats)


def test_without_tensorboard_nothing_is_written(stats, tmp_path, monkeypatch):
    monkeypatch.setattr(board.importlib.util, "find_spec", lambda name: None)
    absent = Board(tmp_path)
    assert not absent.present
    absent.begin(stats)
    absent.add(LINES[0])
    assert not (tmp_path / "tensorboard").exists()
