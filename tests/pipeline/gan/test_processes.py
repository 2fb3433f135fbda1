"""Several processes end in the weights of one: shares, groups, chance, and real runs under torchrun."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file

from atlas.errors import InputError
from atlas.preset import TrainSettings, override
from atlas.stage import Stage
from pipeline.gan.augment import AugmentSettings, RandomDraws, augment
from pipeline.gan.networks import minibatch_std
from pipeline.gan.stream import PhotographStream
from pipeline.gan.training import train
from pipeline.photos.dataset import open_dataset
from pipeline.processes import WHOLE, Processes, Share, run_stage_together

SETTINGS = TrainSettings(
    config="auto",
    kimg=0.16,
    batch=8,
    channel_base=64,
    channel_max=8,
    latent=8,
    snapshot_kimg=0.08,
    mirror=True,
    augment="fixed",
    p=0.5,
    precision="fp64",
)
ITERATIONS = 20

splits = st.tuples(st.integers(1, 4), st.integers(1, 3), st.sampled_from([2, 4, 8])).map(
    lambda t: (t[0], t[0] * t[1], t[2])  # processes, groups, images per group
)


@given(splits)
def test_shares_are_all_rows_once_in_whole_groups(split):
    count, groups, group = split
    rows = torch.arange(groups * group)
    shares = [Share(rank, count, groups).of(rows) for rank in range(count)]
    assert sorted(torch.cat(shares).tolist()) == rows.tolist()
    for share in shares:
        assert len(share) == len(rows) // count
        whole = {int(r) % groups for r in share}
        assert len(whole) == groups // count


@given(splits, st.integers(0, 1000))
def test_groups_see_the_images_they_see_in_one_process(split, seed):
    count, groups, group = split
    x = torch.randn(groups * group, 3, 2, 2, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    whole = minibatch_std(x, group, 1)
    for rank in range(count):
        share = Share(rank, count, groups)
        assert torch.equal(minibatch_std(share.of(x), group, 1), share.of(whole))


@settings(max_examples=30)
@given(splits, st.integers(0, 1000))
def test_a_share_is_augmented_as_it_is_among_the_whole_batch(split, seed):
    count, groups, group = split
    rng = torch.Generator().manual_seed(seed)
    images = torch.randn(groups * group, 3, 16, 16, generator=rng, dtype=torch.float64)

    def augmented(rows, share):
        return augment(rows, 0.5, AugmentSettings(), RandomDraws(torch.Generator().manual_seed(seed)), share)

    whole = augmented(images, WHOLE)
    for rank in range(count):
        share = Share(rank, count, groups)
        assert torch.allclose(augmented(share.of(images), share), share.of(whole), rtol=0, atol=1e-12)


def test_photographs_are_shared(tiny_dataset):
    stream = PhotographStream(open_dataset(tiny_dataset), 3, True)
    whole = stream.batch(70, 16)
    for rank in range(2):
        share = Share(rank, 2, 4)
        assert torch.equal(stream.batch(70, 16, share), share.of(whole))


@pytest.mark.parametrize(("count", "batch", "group"), [(2, 4, 4), (3, 16, 4), (4, 24, 4), (2, 8, 8), (2, 2, 1)])
def test_groups_that_cannot_be_dealt_out(count, batch, group):
    with pytest.raises(InputError, match=f"train.batch must be a multiple of {count * group} for {count} processes"):
        Processes(0, count).share(batch, group)


def test_one_process_needs_no_even_groups():
    assert Processes().share(6, 2).of(torch.arange(6)).tolist() == [0, 1, 2, 3, 4, 5]


SCRIPT = """
import sys
from pathlib import Path
import torch
from atlas.errors import AtlasError
from atlas.preset import TrainSettings
from pipeline.processes import join_processes
from pipeline.gan.training import train
with join_processes("cpu") as processes:
    train(Path(sys.argv[1]), Path(sys.argv[2]), eval(sys.argv[3]), 3, processes=processes)
    processes.check_same([torch.tensor(3.0)])
    try:
        processes.check_same([torch.tensor(3.0), torch.tensor(float(processes.rank))])
    except AtlasError as error:
        print(f"refused: {error}")
"""


def torchrun(count: int, *arguments: str, fault: str = "") -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(count)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "ATLAS_FAULT": fault}
    return subprocess.run(
        [*command, *arguments], env=environment, capture_output=True, text=True, check=False, timeout=300
    )


def state(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "training-state.safetensors")


def farthest(mine: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> float:
    """The largest difference of any tensor from its twin, relative to the twin's largest number."""
    assert set(mine) == set(theirs)
    worst = 0.0
    for name, tensor in theirs.items():
        if name == "rng":
            assert torch.equal(mine[name], tensor)
        elif tensor.numel():
            assert tensor.dtype == torch.float64, name
            worst = max(worst, ((mine[name] - tensor).abs().max() / tensor.abs().max().clamp(min=1e-30)).item())
    return worst


@pytest.fixture(scope="module")
def alone(tiny_dataset, tmp_path_factory):
    """The state after 20 iterations in one process."""
    out = tmp_path_factory.mktemp("alone")
    train(tiny_dataset, out, SETTINGS, 3, log=lambda line: None)
    return out


def test_two_processes_train_to_the_weights_of_one(alone, tiny_dataset, tmp_path):
    """Real processes under torchrun, meeting by gloo; R1, path length, augmentation and mixing take part."""
    script = tmp_path / "run.py"
    script.write_text(SCRIPT)
    out = tmp_path / "out"
    done = torchrun(2, str(script), str(tiny_dataset), str(out), repr(SETTINGS))
    assert done.returncode == 0, done.stderr
    worst = farthest(state(out), state(alone))
    assert 0 < worst < 1e-9
    print(f"farthest after {ITERATIONS} iterations: {worst:.1e}")
    mine, theirs = ([json.loads(line) for line in (f / "stats.jsonl").read_text().splitlines()] for f in (out, alone))
    for a, b in zip(mine, theirs, strict=True):
        assert a == pytest.approx(b, rel=1e-6)
    assert done.stdout.count("kimg, ") == len(mine)  # one process speaks
    # Each process refuses. Their lines may run into one another, the sentence itself is written in one piece.
    assert done.stdout.count("the processes of this training no longer hold the same weights") == 2


@pytest.mark.slow
def test_a_run_goes_on_with_another_number_of_processes(alone, tiny_dataset, tmp_path):
    script, out = tmp_path / "run.py", tmp_path / "out"
    script.write_text(SCRIPT)
    half = torchrun(2, str(script), str(tiny_dataset), str(out), repr(override(SETTINGS, kimg=0.08)))
    assert half.returncode == 0, half.stderr
    train(tiny_dataset, out, SETTINGS, 3, log=lambda line: None)
    assert farthest(state(out), state(alone)) < 1e-9


@pytest.mark.slow
def test_the_command_under_torchrun_killed_and_told_what_it_knows(tiny_dataset, tmp_path):
    out = tmp_path / "out"
    options = ["--data", str(tiny_dataset), "--out", str(out), "--batch", "8", "--channel-base", "64"]
    options += ["--channel-max", "8", "--latent", "8", "--snapshot-kimg", "0.04", "--kimg", "0.08"]
    killed = torchrun(2, "-m", "atlas", "train", *options, fault="train.iteration:8")
    assert killed.returncode != 0
    assert not (out / "stage.json").exists()
    resumed = torchrun(2, "-m", "atlas", "train", *options)
    assert resumed.returncode == 0, resumed.stderr
    assert resumed.stderr.count("going on from 0.0 kimg") == 1
    assert json.loads((out / "stage.json").read_text())["settings"]["batch"] == 8
    assert "train: up to date" in torchrun(2, "-m", "atlas", "train", *options).stderr
    refused = torchrun(2, "-m", "atlas", "train", *options, "--batch", "4", "--start-over")
    assert refused.returncode != 0
    assert "train.batch must be a multiple of 8 for 2 processes" in refused.stderr


def test_only_one_process_keeps_the_record(tmp_path):
    """Of two, process 0 decides whether there is work, and the other works when it does."""
    source, result = tmp_path / "in.txt", tmp_path / "out.txt"
    source.write_text("input")
    stage = Stage("train", 1, tmp_path / "stage.json", {"text": source}, {"kimg": 1}, {"result": result})
    told, worked = [], []

    class Linked(Processes):
        """A process whose messages are held here in place of a network."""

        def tell(self, number: int = 0) -> int:
            if self.rank > 0:
                return told.pop(0)
            told.append(number)
            return number

    def run(rank, start_over):
        def work(resume):
            worked.append((rank, resume))
            result.write_text("done")

        told_to = {"start_over": start_over, "keep": not start_over}
        run_stage_together(stage, work, Linked(rank, 2), **told_to, log=lambda line: None)

    for start_over in (False, False, True):
        for rank in range(2):
            run(rank, start_over)
        assert told == []
    assert worked == [(0, False), (1, False), (0, False), (1, False)]  # the second time there was nothing to do
