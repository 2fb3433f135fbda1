"""Training: killed anywhere and started again, it ends in the same bytes; and what it refuses."""

import dataclasses
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from atlas.errors import InputError
from atlas.preset import TrainSettings, override
from pipeline.gan import Discriminator, checkpoint, load_discriminator, load_generator, training
from pipeline.gan import config as gan_config
from pipeline.gan.augment import AugmentSettings
from pipeline.gan.board import EVENTS
from pipeline.gan.loss import Losses
from pipeline.gan.notes import Notes
from pipeline.gan.optimizer import Adam
from pipeline.gan.stages import train_stage
from pipeline.gan.statefile import DivergedError
from pipeline.gan.training import train

# "auto" has all there is: path length, R1, style mixing, and ADA, which a target of 0 lets act soon.
SETTINGS = TrainSettings(
    config="auto",
    kimg=0.12,
    batch=4,
    channel_base=64,
    channel_max=8,
    latent=8,
    snapshot_kimg=0.04,
    mirror=True,
    target=0.0,
    p_max=0.8,
)
ITERATIONS, PER_SNAPSHOT = 30, 10
# As published, p would need 500 thousand images for what shall happen here within 120: 0.08 in every adjustment.
HASTE = 'config._RECIPES["auto"] = dataclasses.replace(config._RECIPES["auto"], ada_kimg=0.2)'
RUN = f"""
import dataclasses, sys
from pathlib import Path
from atlas.preset import TrainSettings
from pipeline.gan import config
from pipeline.gan.training import train
{HASTE}

def say(line):
    print(line, flush=True)

say("begun")
train(Path(sys.argv[1]), Path(sys.argv[2]), eval(sys.argv[3]), 3, log=say)
"""
# Imports once, then forks a fresh process for each training: importing PyTorch takes longer than these trainings.
FORKS = f"""
import dataclasses, json, os, sys, traceback
from pathlib import Path
from atlas.preset import TrainSettings
from pipeline.gan import config
from pipeline.gan.training import train
{HASTE}

def say(line):
    print(line, flush=True)

for line in sys.stdin:
    call = json.loads(line)
    child = os.fork()
    if child == 0:
        os.environ["ATLAS_FAULT"] = call["fault"]
        os.dup2(os.open(call["news"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 1)
        try:
            train(Path(call["dataset"]), Path(call["out"]), eval(call["settings"]), 3, log=say)
        except BaseException:
            traceback.print_exc(file=sys.stdout)
            sys.stdout.flush()
            os._exit(1)
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


def launch(dataset: Path, out: Path, settings: TrainSettings) -> subprocess.Popen:
    """Train in a process of its own; return when its imports are done and it begins."""
    command = [sys.executable, "-c", RUN, str(dataset), str(out), repr(settings)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "begun\n"
    return process


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    """Train in a process of its own, which a fault may kill; give its exit code and what it said."""
    news = tmp_path_factory.mktemp("news") / "news.txt"
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    forks = subprocess.Popen([sys.executable, "-c", FORKS], env=environment, **pipes)

    def start(dataset: Path, out: Path, settings: TrainSettings, fault: str = "") -> tuple[int, str]:
        call = {"dataset": str(dataset), "out": str(out), "settings": repr(settings), "fault": fault, "news": str(news)}
        forks.stdin.write(json.dumps(call) + "\n")
        forks.stdin.flush()
        return int(forks.stdout.readline()), news.read_text()

    yield start
    forks.stdin.close()
    assert forks.wait(timeout=60) == 0
    forks.stdout.close()


@pytest.fixture(autouse=True)
def haste(monkeypatch):
    """Let p move here as fast as in the processes of `start` and `launch`."""
    recipe = dataclasses.replace(gan_config._RECIPES["auto"], ada_kimg=0.2)
    monkeypatch.setitem(gan_config._RECIPES, "auto", recipe)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.fixture(scope="module")
def unbroken(start, tiny_dataset, tmp_path_factory):
    """The files of a run that was never stopped."""
    out = tmp_path_factory.mktemp("unbroken")
    code, news = start(tiny_dataset, out, SETTINGS)
    assert code == 0, news
    files = contents(out)
    assert set(files) == {
        "training-state.safetensors",
        "generator.safetensors",
        "discriminator.safetensors",
        "stats.jsonl",
        EVENTS,
        "samples/latest.png",
        *(f"samples/{n:09d}.png" for n in (40, 80, 120)),
        *(f"snapshots/{n:09d}.safetensors" for n in (40, 80, 120)),
    }
    return files


CHOSEN = [
    "train.iteration:1",
    "train.before-checkpoint:1",
    "train.mid-checkpoint:1",  # while the first state file is still a temporary one
    "train.mid-checkpoint:2",  # between the generator's file and the discriminator's
    "train.after-checkpoint:2",
]


def test_killed_again_and_again_it_ends_in_the_same_bytes(start, unbroken, tiny_dataset, tmp_path):
    for fault in CHOSEN:
        kept = (tmp_path / "training-state.safetensors").exists()
        code, news = start(tiny_dataset, tmp_path, SETTINGS, fault)
        assert code == -signal.SIGKILL, (fault, news)
        assert ("going on from" in news) == kept
    code, news = start(tiny_dataset, tmp_path, SETTINGS)
    assert code == 0, news
    assert "going on from 0.1 kimg" in news
    assert contents(tmp_path) == unbroken


def test_killed_at_random_it_goes_on_from_its_checkpoints(start, unbroken, tiny_dataset, tmp_path):
    """Three kills, the first after the first checkpoint, so that each start after it resumes one."""
    kept, kills = 0, []  # iterations in the last checkpoint
    for earliest in (PER_SNAPSHOT + 1, 1, 1):
        passing = random.randint(earliest, ITERATIONS - kept)  # each process counts from its own start
        kills.append(passing)
        code, news = start(tiny_dataset, tmp_path, SETTINGS, f"train.iteration:{passing}")
        assert code == -signal.SIGKILL, (kills, news)
        assert ("going on from" in news) == (kept > 0), (kills, news)
        kept += (passing - 1) // PER_SNAPSHOT * PER_SNAPSHOT
    code, news = start(tiny_dataset, tmp_path, SETTINGS)
    assert code == 0, (kills, news)
    assert f"going on from {kept * SETTINGS.batch / 1000:.1f} kimg" in news, kills
    assert contents(tmp_path) == unbroken, kills


def test_a_resumed_run_repeats_no_more_than_one_checkpoint_interval(start, tiny_dataset, tmp_path):
    start(tiny_dataset, tmp_path, SETTINGS, f"train.iteration:{PER_SNAPSHOT * 2 + 3}")
    # Killed in the third iteration after the second checkpoint: the last ten of thirty are left.
    code, news = start(tiny_dataset, tmp_path, SETTINGS, f"train.iteration:{PER_SNAPSHOT + 1}")
    assert code == 0, news
    assert "going on from 0.1 kimg" in news


@pytest.mark.slow
def test_killed_at_twenty_random_moments(unbroken, tiny_dataset, tmp_path):
    """By the clock, not at points in the code: while it prepares, trains, writes, or between."""
    timed = launch(tiny_dataset, tmp_path / "timed", SETTINGS)
    begun = time.monotonic()
    assert timed.wait() == 0, timed.communicate()
    longest = time.monotonic() - begun
    kills, out, finished, resumed = 0, tmp_path / "0", 0, 0
    while kills < 20:
        process = launch(tiny_dataset, out, SETTINGS)
        try:
            process.wait(timeout=random.uniform(0, longest))
        except subprocess.TimeoutExpired:
            process.kill()
            kills += 1
        news, _ = process.communicate()
        resumed += "going on from" in news
        if process.returncode == 0:
            assert contents(out) == unbroken
            finished += 1
            out = tmp_path / str(finished)
        else:
            assert process.returncode == -signal.SIGKILL
    done = launch(tiny_dataset, out, SETTINGS)
    assert done.wait() == 0, done.communicate()
    assert contents(out) == unbroken
    assert resumed > 0


def test_a_finished_run_trains_on_as_if_it_had_been_longer(unbroken, tiny_dataset, tmp_path):
    for kimg in (0.05, 0.12):
        train(tiny_dataset, tmp_path, override(SETTINGS, kimg=kimg), 3, log=lambda line: None)
    assert contents(tmp_path) == unbroken


def test_derived_files_that_are_lost_come_back(unbroken, tiny_dataset, tmp_path):
    for name, data in unbroken.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(data)
    (tmp_path / "generator.safetensors").unlink()
    (tmp_path / "discriminator.safetensors").write_bytes(b"torn")
    (tmp_path / "stats.jsonl").write_bytes(unbroken["stats.jsonl"] + b'{"kimg": 0.1')
    (tmp_path / ".generator.safetensors.x.partial").write_bytes(b"half")
    train(tiny_dataset, tmp_path, SETTINGS, 3, log=lambda line: None)
    assert contents(tmp_path) == unbroken


def test_what_comes_out(unbroken, tiny_dataset, tmp_path):
    for name in ("generator.safetensors", "discriminator.safetensors", "training-state.safetensors"):
        (tmp_path / name).write_bytes(unbroken[name])
    G, D = (
        load_generator(tmp_path / "generator.safetensors"),
        load_discriminator(tmp_path / "discriminator.safetensors"),
    )
    assert (G.img_resolution, G.z_dim, D.img_resolution) == (16, 8, 16)
    state = load_file(tmp_path / "training-state.safetensors")
    for name, tensor in G.state_dict().items():
        assert torch.equal(state[f"G_ema.{name}"], tensor)
    for name, tensor in D.state_dict().items():
        assert torch.equal(state[f"D.{name}"], tensor)
    lines = [json.loads(line) for line in unbroken["stats.jsonl"].decode().splitlines()]
    assert [line["kimg"] for line in lines] == [0.04, 0.08, 0.12]
    for line in lines:
        assert set(line) == {
            *("kimg", "loss_generator", "loss_fakes", "loss_photographs", "r1", "path_length", "pl_mean", "p", "r_t")
        }
        assert 0 <= line["p"] <= 0.8
        assert -1 <= line["r_t"] <= 1


def test_what_must_survive_a_kill_moves_in_the_unbroken_run(unbroken):
    """Else the tests above could not tell whether it is kept: p, r_t, the mean path length, every loss, the moments."""
    lines = [json.loads(line) for line in unbroken["stats.jsonl"].decode().splitlines()]
    for name in ("p", "r_t", "pl_mean", "path_length", "loss_generator", "loss_fakes", "loss_photographs"):
        assert len({line[name] for line in lines}) == len(lines), name
    for line in lines[1:]:  # before and at the last checkpoint, so that what goes on from one has them
        assert 0.1 < line["p"] < 0.8
        assert line["pl_mean"] > 0
    assert lines[0]["r1"] > 0


def test_the_generator_of_every_snapshot_is_kept(unbroken, tmp_path):
    kept = [unbroken[f"snapshots/{n:09d}.safetensors"] for n in (40, 80, 120)]
    assert len(set(kept)) == 3
    assert kept[-1] == unbroken["generator.safetensors"]
    (tmp_path / "g.safetensors").write_bytes(kept[0])
    assert load_generator(tmp_path / "g.safetensors").img_resolution == 16


def test_another_seed_gives_another_generator(unbroken, tiny_dataset, tmp_path):
    train(tiny_dataset, tmp_path, override(SETTINGS, kimg=0.04), 4, log=lambda line: None)
    assert contents(tmp_path)["samples/000000040.png"] != unbroken["samples/000000040.png"]


def test_starting_over_forgets_everything(unbroken, tiny_dataset, tmp_path):
    train(tiny_dataset, tmp_path, override(SETTINGS, kimg=0.04), 4, log=lambda line: None)
    for name in ("samples/000000999.png", "snapshots/000000999.safetensors"):
        (tmp_path / name).write_bytes(b"of an earlier run")
    with pytest.raises(InputError, match="seed 4 became 3"):
        train(tiny_dataset, tmp_path, SETTINGS, 3)  # refused, and nothing lost
    assert (tmp_path / "training-state.safetensors").exists()
    train(tiny_dataset, tmp_path, override(SETTINGS, kimg=0.004), 3, resume=False, log=lambda line: None)
    assert set(contents(tmp_path)) == {
        "training-state.safetensors",
        "generator.safetensors",
        "discriminator.safetensors",
        "stats.jsonl",
        EVENTS,
        "samples/latest.png",
    }


@pytest.fixture
def begun(tiny_dataset, tmp_path):
    train(tiny_dataset, tmp_path, override(SETTINGS, kimg=0.004), 3, log=lambda line: None)
    return tmp_path


def test_a_state_of_another_run_is_refused(begun, tiny_dataset):
    with pytest.raises(InputError, match=r"state of another run \(gamma .* became 9"):
        train(tiny_dataset, begun, override(SETTINGS, gamma=9.0), 3)
    with pytest.raises(InputError, match="seed 3 became 4"):
        train(tiny_dataset, begun, SETTINGS, 4)


def test_a_state_from_before_some_settings_goes_on(unbroken, tiny_dataset, tmp_path):
    train(tiny_dataset, tmp_path, override(SETTINGS, kimg=0.08), 3, log=lambda line: None)
    assert (tmp_path / "generator.safetensors").read_bytes() == unbroken["snapshots/000000080.safetensors"]
    path = tmp_path / "training-state.safetensors"
    with safe_open(path, "pt") as file:
        facts = json.loads(file.metadata()["training"])
    for later in ("p", "blit", "geometry", "colour", "init"):
        del facts["config"][later]
    save_file(load_file(path), path, metadata={"training": json.dumps(facts)})
    with pytest.raises(InputError, match=r"another run \(colour True became False\)"):
        train(tiny_dataset, tmp_path, override(SETTINGS, colour=False), 3, log=lambda line: None)
    train(tiny_dataset, tmp_path, SETTINGS, 3, log=lambda line: None)
    assert contents(tmp_path) == unbroken


def test_what_was_not_asked_before_is_recorded_only_where_it_differs(tiny_dataset, tmp_path):
    """A record from before some settings is that of the same run with their defaults."""
    usual, _ = train_stage(tiny_dataset, SETTINGS, 3, "cpu", tmp_path)
    assert {"p", "blit", "geometry", "colour", "init"}.isdisjoint(usual.settings)
    other, _ = train_stage(tiny_dataset, override(SETTINGS, blit=False, augment="fixed"), 3, "cpu", tmp_path)
    assert (other.settings["blit"], other.settings["p"]) == (False, 0.2)


@pytest.mark.parametrize(
    "damage", [lambda b: b[:-9], lambda b: b"", lambda b: b"\xff" * 100, lambda b: b[:8] + b"x" + b[9:]]
)
def test_a_damaged_state_is_refused(damage, begun, tiny_dataset):
    state = begun / "training-state.safetensors"
    state.write_bytes(damage(state.read_bytes()))
    with pytest.raises(InputError, match=r"training-state\.safetensors"):
        train(tiny_dataset, begun, SETTINGS, 3)


def test_a_generator_is_no_state(begun, tiny_dataset):
    (begun / "training-state.safetensors").write_bytes((begun / "generator.safetensors").read_bytes())
    with pytest.raises(InputError, match="is no training state"):
        train(tiny_dataset, begun, SETTINGS, 3)


def test_numbers_that_run_away_stop_training_and_keep_the_checkpoint(begun, tiny_dataset, monkeypatch):
    before = contents(begun)

    def run_away(average, network, decay):
        next(network.parameters()).data.fill_(float("nan"))

    monkeypatch.setattr(training, "update_average", run_away)
    with pytest.raises(DivergedError, match=r"training diverged before .* the last checkpoint is kept"):
        train(tiny_dataset, begun, SETTINGS, 3, log=lambda line: None)
    after = contents(begun)
    assert {name: after[name] for name in before if name != "stats.jsonl"} == {
        name: data for name, data in before.items() if name != "stats.jsonl"
    }


def test_progress_and_lines(tiny_dataset, tmp_path):
    lines, seen = [], []
    train(
        tiny_dataset, tmp_path, SETTINGS, 3, log=lines.append, progress=lambda done, total: seen.append((done, total))
    )
    assert seen == [(4 * (i + 1), 120) for i in range(ITERATIONS)]
    assert len(lines) == 3
    assert all("kimg" in line and "img/s" in line and "p 0." in line and "min left" in line for line in lines)


def test_bf16_trains(tiny_dataset, tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint, "bf16_is_native", lambda device: True)
    train(tiny_dataset, tmp_path, override(SETTINGS, precision="bf16", kimg=0.02), 3, log=lambda line: None)
    assert load_generator(tmp_path / "generator.safetensors").img_resolution == 16


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_it_trains_on_a_gpu_and_goes_on(precision, tiny_dataset, tmp_path):
    if not torch.cuda.is_available():
        pytest.skip("no GPU on this machine")
    for kimg in (0.04, 0.12):
        settings = override(SETTINGS, config="auto", precision=precision, kimg=kimg, augment="fixed", p=0.5)
        train(tiny_dataset, tmp_path, settings, 3, device="cuda", log=lambda line: None)
    assert len((tmp_path / "stats.jsonl").read_text().splitlines()) == 3
    assert load_generator(tmp_path / "generator.safetensors", device="cuda").img_resolution == 16


def test_augmentation_can_be_switched_off(tiny_dataset, tmp_path):
    train(tiny_dataset, tmp_path, override(SETTINGS, augment="none"), 3, log=lambda line: None)
    lines = [json.loads(line) for line in (tmp_path / "stats.jsonl").read_text().splitlines()]
    assert {line["p"] for line in lines} == {0.0}


def test_p_follows_the_signs_of_logits_on_photographs(tiny_dataset, tmp_path, monkeypatch):
    """r_t is their mean over four iterations, those of R1's pass too; p moves by its speed towards the target."""
    monkeypatch.undo()  # at the published speed
    seen = []
    note = Notes.logits
    monkeypatch.setattr(Notes, "logits", lambda notes, logits: (seen.append(logits.sign().mean()), note(notes, logits)))
    settings = override(SETTINGS, config="auto", kimg=0.08, snapshot_kimg=0.016, p_max=5e-5, target=0.0)
    train(tiny_dataset, tmp_path, settings, 3, log=lambda line: None)
    lines = [json.loads(line) for line in (tmp_path / "stats.jsonl").read_text().splitlines()]
    assert len(seen) == 20 + 2  # R1 in the iterations 0 and 16
    windows = [seen[:5], seen[5:9], seen[9:13], seen[13:17], seen[17:]]
    p = 0.0
    for line, window in zip(lines, windows, strict=True):
        r_t = torch.stack(window).mean().item()
        assert line["r_t"] == pytest.approx(r_t)
        p = min(max(p + (r_t > 0) * 16 / 500_000 - (r_t < 0) * 16 / 500_000, 0.0), 5e-5)
        assert line["p"] == pytest.approx(p)
    assert {line["p"] for line in lines} != {0.0}


def test_augmentation_can_be_fixed_and_its_groups_switched_off(tiny_dataset, tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(training, "augment", lambda x, p, strengths, *rest: (seen.append((p, strengths)), x)[1])
    settings = override(SETTINGS, kimg=0.02, augment="fixed", p=0.3, geometry=False)
    train(tiny_dataset, tmp_path, settings, 3, log=lambda line: None)
    assert {p for p, _ in seen} == {0.3}
    assert {strengths for _, strengths in seen} == {AugmentSettings.groups(geometry=False)}


def test_regularisation_weighs_as_much_as_the_iterations_it_stands_for(tiny_dataset, tmp_path, monkeypatch):
    """R1 and path length are replaced by the value of one bias, whose gradient is then the phase's weight."""
    steps = []

    def bias_of(network):
        return network.b4.out.bias if isinstance(network, Discriminator) else network.synthesis.b4.torgb.bias

    def step(adam):
        steps.append([None if p.grad is None else p.grad.clone() for p in adam.parameters])
        for parameter in adam.parameters:
            parameter.grad = None

    def r1(losses, real):
        return bias_of(losses.D).expand(len(real)), real.new_ones(len(real), 1)

    monkeypatch.setattr(Losses, "r1", r1)
    monkeypatch.setattr(Losses, "path_length", lambda losses, z: bias_of(losses.G).sum().expand(len(z)))
    monkeypatch.setattr(Adam, "step", step)
    settings = override(SETTINGS, config="auto", kimg=17 * 4 / 1000, augment="none")
    train(tiny_dataset, tmp_path, settings, 3, log=lambda line: None)
    # A phase of regularisation reaches this one bias only.
    lone = [gradients for gradients in steps if sum(g is not None for g in gradients) == 1]
    weights = [next(g for g in gradients if g is not None) for gradients in lone]
    path, slope = [w for w in weights if w.shape == (3,)], [w for w in weights if w.shape == (1,)]
    assert len(steps) == 2 * 17 + 5 + 2
    assert torch.equal(torch.stack(path), torch.full([5, 3], 4.0))
    assert torch.equal(torch.stack(slope), torch.full([2, 1], 16.0))


def test_no_phase_leaves_gradients_in_the_other_network(tiny_dataset, tmp_path, monkeypatch):
    own_step = Adam.step
    watched = []

    def step(adam):
        others = [network for network in watched if network is not adam]
        assert all(p.grad is None for other in others for p in other.parameters)
        own_step(adam)

    monkeypatch.setattr(Adam, "step", step)
    monkeypatch.setattr(
        Adam, "__init__", lambda adam, *a, init=Adam.__init__: (init(adam, *a), watched.append(adam))[0]
    )
    train(tiny_dataset, tmp_path, override(SETTINGS, kimg=0.02), 3, log=lambda line: None)
    assert len(watched) == 2
