import dataclasses
import json
import shutil

import pytest

from atlas.errors import InputError
from atlas.stage import Stage, forget, run_stage


class Counting:
    """A stage that copies its input, and remembers with which `resume` it ran."""

    def __init__(self, folder):
        self.source, self.result = folder / "in.txt", folder / "out" / "out.txt"
        self.source.write_text("input")
        self.calls = []
        self.stage = Stage(
            "copy", 1, folder / "out" / "stage.json", {"text": self.source}, {"seed": 1, "kimg": 2}, {"o": self.result}
        )

    def work(self, resume):
        self.calls.append(resume)
        self.result.write_text(self.source.read_text() + str(self.stage.settings))

    def broken(self, resume):
        self.calls.append(resume)
        raise RuntimeError("killed")

    def run(self, work=None, keep=False, **changes):
        stage = dataclasses.replace(self.stage, **changes)
        return run_stage(stage, work or self.work, keep=keep, log=lambda line: None)


@pytest.fixture
def copy(tmp_path):
    return Counting(tmp_path)


def test_runs_once_then_is_up_to_date(copy):
    assert copy.run()
    assert not copy.run()
    assert copy.calls == [False]


@pytest.mark.parametrize(
    "changes", [{"version": 2}, {"settings": {"seed": 2, "kimg": 2}}, {"settings": {"seed": 1, "kimg": 2, "new": 0}}]
)
def test_a_changed_setting_or_version_starts_over(copy, changes):
    copy.run()
    assert copy.run(**changes)
    assert copy.calls == [False, False]


def test_a_changed_input_starts_over_and_a_touched_one_does_not(copy):
    copy.run()
    copy.source.touch()
    assert not copy.run()
    copy.source.write_text("other")
    assert copy.run()


@pytest.mark.parametrize("harm", ["changed", "gone"])
def test_a_changed_or_missing_output_is_made_again(copy, harm):
    copy.run()
    whole = copy.result.read_text()
    if harm == "changed":
        copy.result.write_text("tampered")
    else:
        copy.result.unlink()
    assert copy.run()
    assert copy.result.read_text() == whole


def test_a_copied_run_is_still_up_to_date(copy, tmp_path):
    copy.run()
    shutil.copytree(tmp_path / "out", tmp_path / "copy", copy_function=shutil.copy)
    moved = {"record": tmp_path / "copy" / "stage.json", "outputs": {"o": tmp_path / "copy" / "out.txt"}}
    assert not copy.run(**moved)


def test_unfinished_work_is_continued_only_with_the_same_settings(copy):
    for _ in range(2):
        with pytest.raises(RuntimeError, match="killed"):
            copy.run(copy.broken)
    assert copy.run(settings={"seed": 9, "kimg": 2})
    with pytest.raises(RuntimeError, match="killed"):
        copy.run(copy.broken)
    assert copy.run()
    assert copy.calls == [False, True, False, False, True]


def test_what_other_settings_left_is_discarded_before_work_counts_as_begun(copy):
    marker = copy.stage.record.with_name("stage.partial.json")
    seen = []

    def discard():
        seen.append((copy.result.exists(), marker.exists(), copy.stage.record.exists()))
        copy.result.unlink(missing_ok=True)

    copy.run()
    with pytest.raises(RuntimeError, match="killed"):
        copy.run(copy.broken, version=2, discard=discard)
    assert seen == [(True, False, False)]
    copy.run(version=2, discard=discard)
    assert len(seen) == 1
    assert copy.calls == [False, False, True]


def test_more_of_a_growing_setting_goes_on_and_less_starts_over(copy):
    copy.run(grows=("kimg",))
    assert copy.run(grows=("kimg",), settings={"seed": 1, "kimg": 4})
    assert copy.run(grows=("kimg",), settings={"seed": 1, "kimg": 3})
    assert copy.run(grows=("kimg",), settings={"seed": 2, "kimg": 5})
    assert copy.calls == [False, True, False, False]


def test_force_runs_and_starts_over(copy):
    copy.run()
    assert run_stage(copy.stage, copy.work, force=True, log=lambda line: None)
    assert copy.calls == [False, False]


def test_an_earlier_run_is_kept_when_asked(copy):
    assert copy.run(keep=True)
    assert not copy.run(keep=True)
    for changes, why in (
        ({"settings": {"seed": 2, "kimg": 2, "new": 1}}, "seed was 1, now 2, new was as usual, now 1"),
        ({"version": 2}, "made by another version"),
    ):
        with pytest.raises(InputError, match=f"holds an earlier run of copy .{why}.*--start-over"):
            copy.run(keep=True, **changes)
    with pytest.raises(RuntimeError, match="killed"):
        copy.run(copy.broken, version=2)
    with pytest.raises(InputError, match="made by another version"):
        copy.run(keep=True)  # unfinished work is kept too
    assert copy.run(keep=True, version=2)
    copy.source.write_text("other")
    with pytest.raises(InputError, match="another text"):
        copy.run(keep=True, version=2)
    forget(dataclasses.replace(copy.stage, version=2))
    with pytest.raises(InputError, match="its settings are not recorded"):
        copy.run(keep=True, version=2)
    copy.result.unlink()
    assert copy.run(keep=True, version=2)  # there is nothing to lose
    assert copy.calls == [False, False, True, False]


def test_the_record_explains_the_run_and_names_no_folder(copy, tmp_path):
    copy.run()
    text = copy.stage.record.read_text()
    record = json.loads(text)
    assert record["settings"] == {"seed": 1, "kimg": 2}
    assert record["inputs"]["text"]["file"] == "in.txt"
    assert set(record) >= {"stage", "version", "inputs", "outputs", "software", "seconds"}
    assert str(tmp_path) not in text


def test_what_was_measured_stands_in_the_record(copy):
    def work(resume):
        copy.work(resume)
        return {"seconds_per_photograph": 0.25}

    copy.run(work)
    assert json.loads(copy.stage.record.read_text())["measured"] == {"seconds_per_photograph": 0.25}
    copy.run(version=2)
    assert "measured" not in json.loads(copy.stage.record.read_text())


def test_a_missing_input_is_named(copy):
    copy.source.unlink()
    with pytest.raises(InputError, match=r"the text that stage copy reads is not there: .*in\.txt"):
        copy.run()
