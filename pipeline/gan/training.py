"""Training StyleGAN2-ADA: one visible loop that resumes exactly where it was killed, in one process or in several.

A run's folder is described in `pipeline.gan.folder`, what makes several processes end in the weights of one in
`pipeline.processes`. Nothing depends on how long the run shall be, so a longer one goes on from a finished shorter
one; nor on the number of processes, so a run may go on with another one.
"""

from __future__ import annotations

import time
from pathlib import Path

import torch
from torch import Tensor, nn

from atlas.faults import fault_point
from atlas.preset import TrainSettings
from atlas.progress import Progress, silent
from atlas.stage import Log
from pipeline.gan.augment import AugmentSettings, RandomDraws, augment
from pipeline.gan.checkpoint import bf16_is_native, check_device
from pipeline.gan.config import TrainConfig, advised_batch
from pipeline.gan.folder import STATE, TrainingFolder
from pipeline.gan.loss import Losses
from pipeline.gan.notes import Notes
from pipeline.gan.state import TrainingState
from pipeline.gan.steady import steady
from pipeline.gan.stream import PhotographStream
from pipeline.gan.transfer import configure
from pipeline.photos.dataset import open_dataset
from pipeline.processes import ALONE, Processes, Share


@steady()
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
    processes: Processes = ALONE,
) -> None:
    """Train on a dataset into a folder until ``settings.kimg`` thousand images were shown.

    Args:
        dataset: a ``dataset.zip``.
        out: the run's folder, made if absent; several processes must all see it.
        settings: the preset's ``[train]``.
        seed: of weights, order and chance.
        device: "cpu", "cuda", …; of several processes, each has its own in ``processes``.
        resume: go on from the state in ``out`` if there is one; False removes it and starts over.
        log: takes a line of news per tick.
        progress: told the number of images shown.
        processes: those that train together (`pipeline.processes.join_processes`), each calling this function.

    Raises:
        InputError: the dataset or a setting cannot be used, or the state in ``out`` is damaged or of another run.
        DivergedError: training left the range of numbers; the last checkpoint is kept.
        SpaceError: the disk is too full for the checkpoints.
    """
    device = processes.device if processes.count > 1 else device
    log, progress = processes.heard(log, progress)
    check_device(device, settings.precision)
    photographs = open_dataset(dataset)
    config, beginning = configure(settings, photographs.size)
    advised = advised_batch(settings, config, processes.count)
    share = processes.share(config.batch, config.mbstd_group, advised)
    if processes.count > 1 and config.batch < advised and not settings.batch:
        log(f"train: for {processes.count} processes, {settings.config} is published with --batch {advised}")
    if config.precision == "bf16" and not bf16_is_native(device):
        log("train: this processor has no bfloat16 instructions; bf16 is computed in float32 here")
    stream = PhotographStream(photographs, seed, config.mirror)
    run = TrainingState.new(config, seed, len(photographs.files), device, beginning)
    folder = TrainingFolder(out, log)
    last, snapshot, tick = (config.iterations(k) for k in (settings.kimg, config.snapshot_kimg, config.tick_kimg))
    _prepare(folder, run, resume, last // snapshot, processes)
    if beginning is not None and run.iteration == 0:
        log(beginning.news(settings.init, config))

    losses = _losses(run, share, processes)
    started, begun = time.monotonic(), run.iteration
    while run.iteration < last:
        fault_point("train.iteration")
        notes = Notes(run.rng.device)
        real = stream.batch(run.images, config.batch, share).to(device, run.pl_mean.dtype)

        # Generator: make the discriminator believe; now and then, keep path lengths even.
        run.D.requires_grad_(False)
        loss = losses.generator(_latents(losses, config))
        loss.mean().backward()
        processes.step(run.adam_generator)
        notes.loss("loss_generator", loss)
        if config.pl_interval and run.iteration % config.pl_interval == 0:
            loss = losses.path_length(_latents(losses, config))
            (loss.mean() * config.pl_interval).backward()
            processes.step(run.adam_generator)
            notes.loss("path_length", loss)
        run.D.requires_grad_(True)

        # Discriminator: tell fakes from photographs; now and then, keep its slope at photographs low.
        fake_loss, real_loss, logits = losses.discriminator(_latents(losses, config), real)
        (fake_loss.mean() + real_loss.mean()).backward()
        processes.step(run.adam_discriminator)
        notes.loss("loss_fakes", fake_loss)
        notes.loss("loss_photographs", real_loss)
        notes.logits(logits)
        if run.iteration % config.r1_interval == 0:
            loss, logits = losses.r1(real)
            (loss.mean() * config.r1_interval).backward()
            processes.step(run.adam_discriminator)
            notes.loss("r1", loss)
            notes.logits(logits)

        notes.join(run, processes)
        update_average(run.G_ema, run.G, ema_decay(config, run.images))
        run.iteration += 1

        if run.iteration % config.ada_interval == 0:
            _adjust_augmentation(run)
        if run.iteration % tick == 0:
            speed = (run.iteration - begun) * config.batch / (time.monotonic() - started)
            run.check_finite()
            if processes.rank == 0:
                folder.tell(run, speed, (last - run.iteration) * config.batch / speed)
            run.sums.zero_()
        progress(run.images, last * config.batch)
        if run.iteration % snapshot == 0 or run.iteration == last:
            run.check_finite()
            processes.check_same([*run.G.parameters(), *run.D.parameters(), run.pl_mean, run.signs])
            if processes.rank == 0:
                folder.checkpoint(run)
    processes.tell()  # nobody leaves before everything is written


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


def _losses(run: TrainingState, share: Share, processes: Processes) -> Losses:
    config = run.config
    draws, strengths = RandomDraws(run.rng), AugmentSettings.groups(config.blit, config.geometry, config.colour)
    return Losses(
        run.G,
        run.D,
        augment=lambda images: augment(images, run.ada.p, strengths, draws, share),
        rng=run.rng,
        gamma=config.gamma,
        pl_weight=config.pl_weight,
        pl_decay=config.pl_decay,
        pl_shrink=config.pl_shrink,
        style_mixing=config.style_mixing,
        share=share,
        processes=processes,
        pl_mean=run.pl_mean,
    )


def _latents(losses: Losses, config: TrainConfig) -> Tensor:
    """Draw the latents of a batch and return this process's, [N, z_dim]."""
    return losses.normal(torch.Size([config.batch // losses.share.count, config.latent]))


def _adjust_augmentation(run: TrainingState) -> None:
    total, count = run.signs.tolist()
    if run.config.augment == "ada":
        run.ada.adjust(total / count, run.config.ada_interval * run.config.batch)
    else:
        run.ada.r_t = total / count
    run.signs.zero_()


def _prepare(folder: TrainingFolder, run: TrainingState, resume: bool, snapshots: int, processes: Processes) -> None:
    """Let process 0 bring the folder to where training goes on; then all hold the same state."""
    if processes.rank == 0:
        folder.prepare(run, resume, snapshots)
    going_on = processes.tell(run.iteration)
    if processes.rank > 0 and going_on:
        run.load(folder.path / STATE)
