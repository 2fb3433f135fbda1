"""States of trainings: what is written comes back, and nothing else is taken for it."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file

from atlas.errors import InputError
from pipeline.gan.statefile import StateFile, take_over

FILE = StateFile("kind", 2, ("step", "run"), "state of a test", "folder", "test.mid-write")
FACTS = {"step": 3, "run": {"lr": 0.1, "seed": 1}}

shapes = st.lists(st.integers(0, 3), max_size=3)
types = st.sampled_from([torch.float32, torch.float64, torch.int64, torch.uint8])


@given(st.dictionaries(st.text("abc.", min_size=1, max_size=5), st.tuples(shapes, types), max_size=4))
def test_what_is_written_comes_back(tmp_path_factory, kinds):
    path = tmp_path_factory.mktemp("state") / "state.safetensors"
    written = {name: torch.arange(64)[: torch.Size(s).numel()].reshape(s).to(t) for name, (s, t) in kinds.items()}
    FILE.write(path, FACTS, written.items())
    facts, found = FILE.read(path)
    assert facts == {"format": 2, **FACTS}
    own = {name: torch.full_like(t, 7) for name, t in written.items()}
    take_over(path, own, found)
    for name, tensor in written.items():
        assert torch.equal(own[name], tensor)
        assert own[name].dtype == tensor.dtype


@pytest.mark.parametrize(
    "found",
    [
        {},
        {"a": torch.ones(2), "b": torch.ones(2)},
        {"a": torch.ones(3)},
        {"a": torch.ones(2, dtype=torch.float64)},
        {"b": torch.ones(2)},
    ],
)
def test_tensors_that_do_not_fit_are_named_and_nothing_is_copied(found, tmp_path):
    own = {"a": torch.zeros(2)}
    with pytest.raises(InputError, match=r"is damaged: tensors (a|b|a, b) are missing, unknown, or of another shape"):
        take_over(tmp_path / "state", own, found)
    assert torch.equal(own["a"], torch.zeros(2))


def test_files_of_another_kind_version_or_content(tmp_path):
    path = tmp_path / "state.safetensors"
    other = StateFile("kind", 3, (), "state of a test", "folder", "test.mid-write")
    other.write(path, FACTS, [])
    with pytest.raises(InputError, match="has format 3; this version goes on from format 2 only"):
        FILE.read(path)
    FILE.write(path, {"step": 3}, [])
    with pytest.raises(InputError, match=r"is no state of a test: .*'run'"):
        FILE.read(path)
    save_file({"a": torch.ones(1)}, path, metadata={"kind": "{"})
    with pytest.raises(InputError, match="is no state of a test: its metadata are missing or damaged"):
        FILE.read(path)
    save_file({"a": torch.ones(1)}, path)
    with pytest.raises(InputError, match="is no state of a test"):
        FILE.read(path)


def test_another_run_is_refused_by_what_differs(tmp_path):
    FILE.check_same_run(tmp_path, {"lr": 1}, {"lr": 1})
    with pytest.raises(InputError, match=r"another run \(lr 2 became 1, seed 5 became None\): train into"):
        FILE.check_same_run(tmp_path, {"lr": 1}, {"lr": 2, "seed": 5})
