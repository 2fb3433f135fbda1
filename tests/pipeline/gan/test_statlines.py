"""Statistics are cut back to whole lines, and never padded."""

import pytest

from pipeline.gan.statlines import add_line, cut_lines


def test_lines_are_added_and_cut_back(tmp_path):
    path, said = tmp_path / "stats.jsonl", []
    cut_lines(path, 0, said.append)
    assert path.read_bytes() == b""
    first = add_line(path, {"a": 1})
    assert first == len(b'{"a": 1}\n') == path.stat().st_size
    assert add_line(path, {"a": 2}) == 2 * first
    cut_lines(path, first, said.append)
    assert path.read_bytes() == b'{"a": 1}\n'
    assert said == []
    with pytest.raises(ValueError, match="JSON"):
        add_line(path, {"a": float("nan")})


@pytest.mark.parametrize("torn", [b'{"a": 1}\n{"a"', b'{"a": 1}\n'])
def test_a_file_shorter_than_the_state_says_is_told_and_not_filled_up(torn, tmp_path):
    path, said = tmp_path / "stats.jsonl", []
    path.write_bytes(torn)
    cut_lines(path, 100, said.append)
    assert path.read_bytes() == b'{"a": 1}\n'
    assert said == [f"{path} is shorter than it was at the checkpoint; what is missing is lost"]
