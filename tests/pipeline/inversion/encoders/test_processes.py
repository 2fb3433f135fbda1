"""Encoders trained by several processes end in the weights of one: real runs under torchrun, meeting by gloo."""

import functools
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from atlas.errors import InputError
from atlas.preset import EncoderSettings, override
from pipeline.inversion.encoders import training
from pipeline.inversion.encoders.architecture import EncoderArchitecture
from pipeline.inversion.encoders.files import read_facts
from pipeline.inversion.encoders.networks import build
from pipeline.inversion.encoders.norms import BatchNorm
from pipeline.inversion.encoders.training import train_encoder
from pipeline.processes import Processes, Share

STEPS, TICK = 20, 8
E4E = EncoderSettings(
    steps=STEPS, batch=4, generated=0.5, checkpoint=10, stage_start=2, stage_every=1, similarity="off"
)
RUNS = {
    "e4e": ("e4e", E4E),
    "restyle": ("restyle", override(E4E, iterations=2, batch=2, optimizer="ranger", generated=0.0)),
}

SCRIPT = """
import os, sys
from pathlib import Path
import torch
from torch import nn
from atlas.preset import EncoderSettings
from pipeline.inversion.encoders import training
from pipeline.inversion.encoders.norms import BatchNorm, normalise_together
from pipeline.processes import join_processes

generator, dataset, out, runs = Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), eval(sys.argv[4])
training.TICK = int(sys.argv[5])
CHANGES = os.O_WRONLY | os.O_RDWR | os.O_CREAT
touched = set()

def watch(event, arguments):
    changes = event in ("os.rename", "os.remove", "os.mkdir", "os.truncate")
    if changes or (event == "open" and arguments[2] & CHANGES):
        path = str(arguments[0])
        if path.startswith(str(out)):
            touched.add(path)

def norms(processes):
    rng = torch.Generator().manual_seed(1)
    x, slope = (torch.randn(6, 5, 3, 2, generator=rng, dtype=torch.float64) * 3 + 7 for _ in range(2))
    whole, shared = nn.BatchNorm2d(5).double(), BatchNorm(5).double()
    with torch.no_grad():
        whole.weight.copy_(torch.rand(5, generator=rng)), whole.bias.copy_(torch.rand(5, generator=rng))
    shared.load_state_dict(whole.state_dict())
    normalise_together(nn.Sequential(shared), processes)
    share = processes.strided
    mine = share.of(x).clone().requires_grad_()
    y = shared(mine)
    # The loss is a mean over images, and no function of each alone: the square is taken of what all sum up to.
    (y.square() * share.of(slope)).sum().div(len(mine)).backward()
    x.requires_grad_()
    expected = whole(x)
    (expected.square() * slope).sum().div(len(x)).backward()
    processes.average([shared.weight.grad, shared.bias.grad])
    def close(a, b):
        assert torch.allclose(a, b, rtol=1e-10, atol=1e-12), (a - b).abs().max()
    close(processes.gather(y.detach()), expected.detach())
    close(processes.gather(mine.grad) / processes.count, x.grad)
    close(shared.weight.grad, whole.weight.grad)
    close(shared.bias.grad, whole.bias.grad)
    for name, tensor in whole.state_dict().items():
        close(shared.state_dict()[name], tensor)
    close(shared.eval()(x), whole.eval()(x))
    print(f"norms agree on {processes.rank}.")

sys.addaudithook(watch)
with join_processes("cpu") as processes:
    norms(processes)
    for name, (method, settings) in runs.items():
        path = out / name / "encoder.safetensors"
        training.train_encoder(method, generator, dataset, settings, 3, path, processes=processes, double=True)
print(f"process {processes.rank} touched {len(touched)} files.")
"""


def torchrun(count: int, *arguments: str, fault: str = "") -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(count)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "ATLAS_FAULT": fault}
    return subprocess.run(
        [*command, *arguments], env=environment, capture_output=True, text=True, check=False, timeout=300
    )


def contents(folder: Path) -> dict[str, bytes]:
    files = (p for p in sorted(folder.rglob("*")) if p.is_file() and not p.name.endswith("stage.json"))
    return {str(p.relative_to(folder)): p.read_bytes() for p in files}


def farthest(mine: Path, theirs: Path) -> tuple[float, str]:
    """The largest difference of any tensor of two states, relative to the tensor's largest number."""
    a, b = (load_file(folder / "encoder.training" / "state.safetensors") for folder in (mine, theirs))
    assert set(a) == set(b)
    worst = (0.0, "")
    for name, tensor in b.items():
        if not tensor.is_floating_point():
            assert torch.equal(a[name], tensor), name
            continue
        assert tensor.dtype == torch.float64, name
        worst = max(worst, (((a[name] - tensor).abs().max() / tensor.abs().max().clamp(min=1e-30)).item(), name))
    return worst


@pytest.fixture(scope="module")
def alone(tiny_generator_path, tiny_dataset_path, tmp_path_factory):
    """Gives what one process trains, by the run's name."""
    out, before = tmp_path_factory.mktemp("alone"), training.TICK

    @functools.cache
    def trained(name: str) -> Path:
        training.TICK = TICK
        method, settings = RUNS[name]
        path = out / name / "encoder.safetensors"
        train_encoder(
            method, tiny_generator_path, tiny_dataset_path, settings, 3, path, log=lambda line: None, double=True
        )
        training.TICK = before
        return path.parent

    return trained


@pytest.mark.parametrize("name", ["e4e", pytest.param("restyle", marks=pytest.mark.slow)])
def test_two_processes_train_to_the_weights_of_one(name, alone, tiny_generator_path, tiny_dataset_path, tmp_path):
    """Known codes, discriminator with pools and R1, averaged weights, two passes, Ranger: all take part."""
    script, out, expected = tmp_path / "run.py", tmp_path / "out", alone(name)
    script.write_text(SCRIPT)
    run = repr({name: RUNS[name]})
    done = torchrun(2, str(script), str(tiny_generator_path), str(tiny_dataset_path), str(out), run, str(TICK))
    assert done.returncode == 0, done.stderr
    for rank in range(2):
        assert f"norms agree on {rank}." in done.stdout
    worst, tensor = farthest(out / name, expected)
    assert 0 < worst < 1e-6, tensor
    print(f"{name}: farthest after {STEPS} steps: {worst:.1e} ({tensor})")
    mine, theirs = (
        [json.loads(line) for line in (folder / "encoder.training" / "stats.jsonl").read_text().splitlines()]
        for folder in (out / name, expected)
    )
    assert [line["step"] for line in theirs] == [8, 16]
    for a, b in zip(mine, theirs, strict=True):
        assert a == pytest.approx(b, rel=1e-6)
    assert set(contents(out / name)) == set(contents(expected))
    assert done.stdout.count(" weights, ") == 1  # one process speaks
    assert "process 1 touched 0 files." in done.stdout  # and writes
    assert "process 0 touched 0 files." not in done.stdout


@pytest.mark.slow
def test_a_run_goes_on_with_another_number_of_processes(
    alone, tiny_generator_path, tiny_dataset_path, tmp_path, monkeypatch
):
    script, out = tmp_path / "run.py", tmp_path / "out"
    script.write_text(SCRIPT)
    half = {"e4e": ("e4e", override(E4E, steps=STEPS // 2))}
    files = [str(tiny_generator_path), str(tiny_dataset_path)]
    done = torchrun(2, str(script), *files, str(out), repr(half), str(TICK))
    assert done.returncode == 0, done.stderr
    path = out / "e4e" / "encoder.safetensors"
    monkeypatch.setattr(training, "TICK", TICK)
    train_encoder("e4e", tiny_generator_path, tiny_dataset_path, E4E, 3, path, log=lambda line: None, double=True)
    worst, tensor = farthest(out / "e4e", alone("e4e"))
    assert worst < 1e-6, tensor


@pytest.mark.slow
def test_the_command_under_torchrun_killed_and_told_what_it_knows(tiny_generator_path, tiny_dataset_path, tmp_path):
    common = ["-m", "atlas", "encoder", "train", "--method", "e4e", "--generator", str(tiny_generator_path)]
    common += ["--data", str(tiny_dataset_path), "--batch", "4", "--generated", "0.5", "--steps", "10"]
    common += ["--checkpoint", "4", "--stage-start", "2", "--stage-every", "1"]
    unbroken, killed = ([*common, "--out", str(tmp_path / name / "e4e.safetensors")] for name in ("a", "b"))
    done = torchrun(2, *unbroken)
    assert done.returncode == 0, done.stderr
    assert torchrun(2, *killed, fault="encoder.step:7").returncode != 0
    assert not (tmp_path / "b" / "e4e.stage.json").exists()
    resumed = torchrun(2, *killed)
    assert resumed.returncode == 0, resumed.stderr
    assert resumed.stderr.count("going on from step 4") == 1
    assert contents(tmp_path / "b") == contents(tmp_path / "a")
    assert read_facts(tmp_path / "b" / "e4e.safetensors")["steps"] == 10
    assert json.loads((tmp_path / "b" / "e4e.stage.json").read_text())["settings"]["batch"] == 4
    assert "encoder e4e: up to date" in torchrun(2, *killed).stderr
    refused = torchrun(2, *killed, "--batch", "6")
    assert refused.returncode != 0
    assert "encoder.batch must hold a multiple of 2 photographs and of generated images for 2 proc" in refused.stderr


@pytest.mark.parametrize(("count", "batch", "generated"), [(3, 8, 0.0), (2, 8, 0.125), (2, 6, 0.5), (4, 8, 0.75)])
def test_a_batch_that_cannot_be_dealt_out(count, batch, generated, tiny_generator_path, tiny_dataset_path, tmp_path):
    settings = override(E4E, batch=batch, generated=generated)
    out = tmp_path / "e4e.safetensors"
    with pytest.raises(InputError, match=f"a multiple of {count} photographs and of generated images for {count} proc"):
        train_encoder("e4e", tiny_generator_path, tiny_dataset_path, settings, 3, out, processes=Processes(0, count))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("method", "backbone"), [("e4e", "full"), ("restyle", "full"), ("e4e", "narrow")])
def test_every_batch_norm_can_see_the_batch_of_all(method, backbone):
    arch = EncoderArchitecture.made_for(method, backbone, "e4e", 10, 512, 64, 5)
    with torch.device("meta"):
        network = build(arch)
    norms = [m for m in network.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    assert len(norms) > 4
    assert all(isinstance(m, BatchNorm) for m in norms)


def test_shares_without_groups_are_put_together_again():
    rows = torch.arange(12).reshape(12, 1)
    for count in (1, 2, 3, 4, 6):
        processes = [Processes(rank, count) for rank in range(count)]
        shares = [p.strided.of(rows) for p in processes]
        assert processes[0].strided.whole(shares).equal(rows)
        assert Share(1, 2, 2).of(rows[:0]).equal(rows[:0])
        # Photographs before, generated images behind: the share of both is the share of each.
        if count in (1, 2, 4):
            assert all(
                torch.cat([p.strided.of(rows[:8]), p.strided.of(rows[8:])]).equal(p.strided.of(rows)) for p in processes
            )
