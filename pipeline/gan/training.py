"""Training StyleGAN2-ADA: one visible loop that resumes exactly where it was killed.

A run's folder holds ``training-state.safetensors`` (the truth, see `pipeline.gan.state`) and what is derived from it:
``generator.safetensors`` (the averaged one), ``discriminator.safetensors``, ``samples/*.png``; and ``stats.jsonl``,
a line per tick, cut back to the state when a run goes on. Nothing depends on how long the run shall be, so a longer one
goes on from a finished shorter one.
"""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path

import torch
from torch import Tensor, nn

from atlas.faults import fault_point
from atlas.files import remove_partials, require_space
from atlas.preset import TrainSettings
from atlas.progress import Progress, silent
from atlas.stage import Log
from pipeline.gan.augment import AugmentSettings, RandomDraws, augment
from pipeline.gan.checkpoint import bf16_is_native, check_device, save_network
from pipeline.gan.config import TrainConfig, resolve
from pipeline.gan.loss import Losses
from pipeline.gan.samples import sample_latents, write_samples
from pipeline.gan.state import STATISTICS, TrainingState
from pipeline.gan.stream import PhotographStream
from pipeline.photos.dataset import open_dataset

STATE, GENERATOR, DISCRIMINATOR = "training-state.safetensors", "generator.safetensors", "discriminator.safetensors"
STATS, SAMPLES = "stats.jsonl", "samples"


def train(
    dataset: Path,
    out: Path,
    settings: TrainSettings,
    seed: int,
    *,
    device: str = "cpu",
    resume: bool = True,
    log: Log = print,
    progress: Progress = silent,
) -> None:
    """Train on a dataset into a folder until ``settings.kimg`` thousand images were shown.

    Args:
        dataset: a ``dataset.zip``.
        out: the run's folder, made if absent.
        settings: the preset's ``[train]``.
        seed: of weights, order and chance.
        device: "cpu", "cuda", …
        resume: go on from the state in ``out`` if there is one; False removes it and starts over.
        log: takes a line of news per tick.
        progress: told the number of images shown.

    Raises:
        InputError: the dataset or a setting cannot be used, or the state in ``out`` is damaged or of another run.
        DivergedError: training left the range of numbers; the last checkpoint is kept.
        SpaceError: the disk is too full for the checkpoints.
    """
    check_device(device, settings.precision)
    photographs = open_dataset(dataset)
    config = resolve(settings, photographs.size)
    if config.precision == "bf16" and not bf16_is_native(device):
        log("train: this processor has no bfloat16 instructions; bf16 is computed in float32 here")
    stream = PhotographStream(photographs, seed, config.mirror)
    run = TrainingState.new(config, seed, len(photographs.files), device)
    _prepare(out, run, resume, log)

    losses = _losses(run)
    last, snapshot, tick = (config.iterations(k) for k in (settings.kimg, config.snapshot_kimg, config.tick_kimg))
    started, begun = time.monotonic(), run.iteration
    while run.iteration < last:
        fault_point("train.iteration")
        real = stream.batch(run.images, config.batch).to(device)

        # Generator: make the discriminator believe; now and then, keep path lengths even.
        run.D.requires_grad_(False)
        loss = losses.generator(_latents(run))
        loss.mean().backward()
        run.adam_generator.step()
        _note(run, "loss_generator", loss)
        if config.pl_interval and run.iteration % config.pl_interval == 0:
            loss = losses.path_length(_latents(run))
            (loss.mean() * config.pl_interval).backward()
            run.adam_generator.step()
            _note(run, "path_length", loss)
        run.D.requires_grad_(True)

        # Discriminator: tell fakes from photographs; now and then, keep its slope at photographs low.
        fake_loss, real_loss, logits = losses.discriminator(_latents(run), real)
        (fake_loss.mean() + real_loss.mean()).backward()
        run.adam_discriminator.step()
        _note(run, "loss_fakes", fake_loss)
        _note(run, "loss_photographs", real_loss)
        _note_signs(run, logits)
        if run.iteration % config.r1_interval == 0:
            loss, logits = losses.r1(real)
            (loss.mean() * config.r1_interval).backward()
            run.adam_discriminator.step()
            _note(run, "r1", loss)
            _note_signs(run, logits)

        update_average(run.G_ema, run.G, ema_decay(config, run.images))
        run.iteration += 1

        if run.iteration % config.ada_interval == 0:
            total, count = run.signs.tolist()
            if config.augment == "ada":
                run.ada.adjust(total / count, config.ada_interval * config.batch)
            run.signs.zero_()
        if run.iteration % tick == 0:
            speed = (run.iteration - begun) * config.batch / (time.monotonic() - started)
            _tell(out / STATS, run, speed, (last - run.iteration) * config.batch / speed, log)
        progress(run.images, last * config.batch)
        if run.iteration % snapshot == 0 or run.iteration == last:
            _checkpoint(out, run, snapshot)


def ema_decay(config: TrainConfig, images: int) -> float:
    """Return how much of the averaged generator one iteration leaves: 0.5^(batch / half-life).

    The half-life is ``ema_kimg``, but no longer than the share ``ema_rampup`` of the images shown so far.
    """
    half_life = config.ema_kimg * 1000
    if config.ema_rampup:
        half_life = min(half_life, images * config.ema_rampup)
    return 0.5 ** (config.batch / max(half_life, 1e-8))


@torch.no_grad()
def update_average(average: nn.Module, network: nn.Module, decay: float) -> None:
    """Move the averaged network's weights towards the network's; buffers (w_avg, noise) are copied."""
    for mean, parameter in zip(average.parameters(), network.parameters(), strict=True):
        mean.copy_(parameter.lerp(mean, decay))
    for copied, buffer in zip(average.buffers(), network.buffers(), strict=True):
        copied.copy_(buffer)


def _losses(run: TrainingState) -> Losses:
    config = run.config
    draws, strengths = RandomDraws(run.rng), AugmentSettings()
    return Losses(
        run.G,
        run.D,
        augment=lambda images: augment(images, run.ada.p, strengths, draws),
        rng=run.rng,
        gamma=config.gamma,
        pl_weight=config.pl_weight,
        pl_decay=config.pl_decay,
        pl_shrink=config.pl_shrink,
        style_mixing=config.style_mixing,
        pl_mean=run.pl_mean,
    )


def _latents(run: TrainingState) -> Tensor:
    return torch.randn(run.config.batch, run.G.z_dim, generator=run.rng, device=run.rng.device)


def _note(run: TrainingState, name: str, values: Tensor) -> None:
    column = STATISTICS.index(name)
    run.sums[0, column] += values.detach().double().mean()
    run.sums[1, column] += 1


def _note_signs(run: TrainingState, logits: Tensor) -> None:
    run.signs[0] += logits.detach().sign().sum()
    run.signs[1] += logits.numel()


def _tell(path: Path, run: TrainingState, speed: float, seconds_left: float, log: Log) -> None:
    """Write and log what happened since the last tick."""
    run.check_finite()
    means = dict(zip(STATISTICS, (run.sums[0] / run.sums[1].clamp(min=1)).tolist(), strict=True))
    line = {"kimg": run.images / 1000, **means, "pl_mean": run.pl_mean.item(), "p": run.ada.p, "r_t": run.ada.r_t}
    run.sums.zero_()
    with path.open("ab") as stream:
        stream.write((json.dumps(line, allow_nan=False) + "\n").encode())
        run.stats_bytes = stream.tell()
    discriminator = means["loss_fakes"] + means["loss_photographs"]
    log(
        f"train: {run.images / 1000:.1f} kimg, {speed:.0f} img/s, p {run.ada.p:.3f}, "
        f"G {means['loss_generator']:.3f}, D {discriminator:.3f}, {seconds_left / 60:.1f} min left"
    )


def _checkpoint(out: Path, run: TrainingState, snapshot: int) -> None:
    run.check_finite()
    fault_point("train.before-checkpoint")
    run.save(out / STATE)
    _publish(out, run, snapshot)
    fault_point("train.after-checkpoint")


def _publish(out: Path, run: TrainingState, snapshot: int) -> None:
    """Write what is derived from the state."""
    save_network(run.G_ema, out / GENERATOR)
    fault_point("train.mid-checkpoint")
    save_network(run.D, out / DISCRIMINATOR)
    pictures = [out / SAMPLES / "latest.png"]
    if run.iteration % snapshot == 0:
        pictures.append(out / SAMPLES / f"{run.images:09d}.png")
    write_samples(run.G_ema, sample_latents(run.G_ema, run.seed), pictures)


def _prepare(out: Path, run: TrainingState, resume: bool, log: Log) -> None:
    """Bring the folder and the state to where training goes on."""
    out.mkdir(parents=True, exist_ok=True)
    remove_partials(out)
    state, stats = out / STATE, out / STATS
    if not resume:
        shutil.rmtree(out / SAMPLES, ignore_errors=True)
        for name in (STATE, GENERATOR, DISCRIMINATOR, STATS):
            (out / name).unlink(missing_ok=True)
    size = 4 * sum(t.numel() for network in (run.G, run.D) for t in network.state_dict().values())
    require_space(out, 10 * size, "the training state with its temporary copy")
    if state.exists():
        run.load(state)
        log(f"train: going on from {run.images / 1000:.1f} kimg")
        _publish(out, run, run.config.iterations(run.config.snapshot_kimg))
    stats.touch()
    if stats.stat().st_size < run.stats_bytes:
        log(f"train: {stats} is shorter than it was at the checkpoint; what is missing is lost")
    with stats.open("ab") as stream:
        stream.truncate(run.stats_bytes)
