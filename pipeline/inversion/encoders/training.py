"""Training e4e and ReStyle: one visible loop that resumes exactly where it was killed, in one process or in several.

A run's files are described in `pipeline.inversion.encoders.folder`. Nothing depends on how long the run shall be, so a
longer one goes on from a finished shorter one; nor on the number of processes, so a run may go on with another one.

Of n processes (`pipeline.processes`) each works on every n-th photograph and every n-th generated image of a batch.
What is then no longer a mean over independent images: batch norms, which take their means over all processes
(`pipeline.inversion.encoders.norms`), and the latent discriminator's pools. Every process holds the same pools and
exchanges the styles of the whole batch with them, by the same chance, and then judges its share of what they give.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from atlas.errors import InputError
from atlas.faults import fault_point
from atlas.files import sha256_path
from atlas.preset import EncoderSettings
from atlas.progress import Progress, silent
from atlas.stage import Log
from pipeline.gan import Generator, load_generator
from pipeline.gan.checkpoint import check_device
from pipeline.gan.rendering import render_with_noise
from pipeline.gan.stream import PhotographStream
from pipeline.inversion.batches import to_images
from pipeline.inversion.encoders.config import EncoderConfig, completed, resolve
from pipeline.inversion.encoders.discriminator import adversarial_loss, discriminator_loss, r1_penalty
from pipeline.inversion.encoders.encoder import check_unconditional, to_size
from pipeline.inversion.encoders.folder import STATE, EncoderFolder
from pipeline.inversion.encoders.losses import ImageLosses, delta_size, unexplained
from pipeline.inversion.encoders.norms import normalise_together
from pipeline.inversion.encoders.sheets import COLUMNS
from pipeline.inversion.encoders.state import EncoderState, step_rng
from pipeline.inversion.selection import held_out
from pipeline.photos.dataset import Dataset, open_dataset
from pipeline.processes import ALONE, Processes

TICK = 50  # steps between lines of statistics
SHEET_PHOTOGRAPHS = 2 * COLUMNS
VARIANCE_SAMPLES = 4096


def inputs(generator: Path, dataset: Path, settings: EncoderSettings) -> dict[str, Path]:
    """Return the files and folders that decide a training, by name."""
    given = {"lpips": settings.lpips, "moco": settings.moco}
    return {"generator": generator, "dataset": dataset} | {name: Path(path) for name, path in given.items() if path}


def train_encoder(
    method: str,
    generator: Path,
    dataset: Path,
    settings: EncoderSettings,
    seed: int,
    out: Path,
    *,
    device: str = "cpu",
    resume: bool = True,
    log: Log = print,
    progress: Progress = silent,
    processes: Processes = ALONE,
    double: bool = False,
) -> None:
    """Train an encoder for a generator until ``settings.steps`` steps were taken (0: as many as its configuration has).

    Photographs that are held out for comparing inversions are never trained on; they are those on the sheets.

    Args:
        method: "e4e" or "restyle".
        generator: its file; resolution, number and size of styles are read from it.
        dataset: a ``dataset.zip``; photographs of any size.
        settings: the preset's ``[encoder]``.
        seed: of weights, order and chance.
        out: ``METHOD.safetensors``; `working_folder` lies beside it; several processes must all see it.
        device: "cpu", "cuda", …; of several processes, each has its own in ``processes``.
        resume: go on from the state beside ``out`` if there is one; False removes it and starts over.
        log: takes a line of news now and then.
        progress: told the number of steps.
        processes: those that train together (`pipeline.processes.join_processes`), each calling this function.
        double: compute in float64, for checks.

    Raises:
        InputError: an input or a setting cannot be used, or the state is damaged or of another run.
        DivergedError: training left the range of numbers; the last checkpoint is kept.
        SpaceError: the disk is too full for the checkpoints.
    """
    device = processes.device if processes.count > 1 else device
    log, progress = processes.heard(log, progress)
    check_device(device)
    settings = completed(settings)
    G = load_generator(generator, device, "fp64" if double else "fp32")
    check_unconditional(G, str(generator))
    config = resolve(method, settings, G.architecture)
    _check_shares(config, processes)
    photographs = open_dataset(dataset)
    stream = PhotographStream(_trained_on(photographs), seed, config.mirror)
    sources = {name: sha256_path(path) for name, path in inputs(generator, dataset, settings).items()}
    run = EncoderState(config, seed, sources, G)
    normalise_together(run.encoder.network, processes)
    losses = ImageLosses.load(config, settings.lpips, settings.moco, G.mapping.w_avg)
    shown = to_images(photographs, _shown(photographs), device)
    folder = EncoderFolder(out, _facts(config, losses, seed, sources), settings.half, shown, log)
    _prepare(folder, run, resume, processes)
    log(f"encoder: {method}, {_count(run):,} weights, {len(stream.dataset.files)} photographs, {losses.names}")

    arch, variance = config.architecture, code_variance(G)
    started, begun = time.monotonic(), run.step
    while run.step < settings.steps:
        fault_point("encoder.step")
        stage, rng = config.stage(run.step), step_rng(seed, run.step, device)
        x, known = _images(run, G, stream, rng, processes)
        codes, look = run.encoder.latent_avg.expand(len(x), -1, -1), None
        if arch.method == "restyle":
            with torch.no_grad():
                look = run.encoder.average_image().expand(len(x), -1, -1, -1)

        for iteration in range(arch.iterations):
            codes = codes.detach() + run.encoder.network(x if look is None else torch.cat([x, look], 1), stage)
            if arch.progressive and iteration == 0:
                _train_discriminator(run, G, codes.detach(), stage, rng, processes)
            rendered = to_size(render_with_noise(G, codes, rng, processes.strided), arch.size)
            loss = codes.new_zeros(())
            for name, weight, value in _parts(run, losses, rendered, x, codes, known, variance, stage):
                loss = loss + weight * value
                run.note(name, value)
            run.note("loss", loss)
            loss.backward()
            look = rendered.detach()
        processes.step(run.optimizer)
        run.update_average()
        run.step += 1

        checkpoint = run.step % config.checkpoint == 0 or run.step == settings.steps
        if run.step % TICK == 0 or checkpoint:
            processes.average([run.sums])  # each noted what it saw; the mean of means is that of the whole batch
            run.check_finite()
        if run.step % TICK == 0:
            pace = (time.monotonic() - started) / (run.step - begun)
            if processes.rank == 0:
                folder.tell(run, config.batch / pace, pace * (settings.steps - run.step))
            run.sums.zero_()
        progress(run.step, settings.steps)
        if checkpoint:
            processes.check_same([*run.encoder.network.state_dict().values(), *run.D.parameters(), run.sums])
            if processes.rank == 0:
                folder.checkpoint(run)
    processes.tell()  # nobody leaves before everything is written


@torch.no_grad()
def code_variance(generator: Generator) -> Tensor:
    """Return the variance of the generator's w, averaged over its numbers: a scalar."""
    z = torch.randn(VARIANCE_SAMPLES, generator.z_dim, generator=torch.Generator().manual_seed(0))
    return generator.mapping(z.to(generator.mapping.w_avg))[:, 0].var(0).mean()


def _check_shares(config: EncoderConfig, processes: Processes) -> None:
    """Refuse a batch that cannot be dealt out evenly."""
    photographs = config.batch - config.generated
    if photographs % processes.count or config.generated % processes.count:
        raise InputError(
            f"encoder.batch must hold a multiple of {processes.count} photographs and of generated images for "
            f"{processes.count} processes, got {photographs} and {config.generated}: change --batch or --generated"
        )


def _trained_on(dataset: Dataset) -> Dataset:
    """Return the part of a dataset that an encoder may see."""
    free = np.flatnonzero(~held_out(dataset.photos))
    if not len(free):
        raise InputError(
            f"every photograph of {dataset.path} lies in a block that is held out for comparing inversions: an encoder "
            "needs photographs of further blocks to be trained on"
        )
    return replace(
        dataset,
        photos=tuple(dataset.photos[i] for i in free),
        files=tuple(dataset.files[i] for i in free),
        labels=dataset.labels[free],
    )


def _shown(dataset: Dataset) -> np.ndarray:
    """Return which photographs are on the sheets: held out ones, or the first where none are."""
    held = np.flatnonzero(held_out(dataset.photos))
    return (held if len(held) else np.arange(len(dataset)))[:SHEET_PHOTOGRAPHS]


def _images(
    run: EncoderState, G: Generator, stream: PhotographStream, rng: torch.Generator, processes: Processes
) -> tuple[Tensor, Tensor]:
    """Return this process's share of a step's images, photographs first, and the known codes of the generated ones.

    The images are [N, 3, size, size].
    """
    config, share, latent_avg = run.config, processes.strided, run.encoder.latent_avg
    size, photographs = config.architecture.size, config.batch - config.generated
    z = share.normal([config.generated // processes.count, G.z_dim], rng, latent_avg.dtype)
    with torch.no_grad():
        known = G.mapping(z)
        parts = [to_size(render_with_noise(G, known, rng, share), size)] if config.generated else []
    if photographs:
        seen = stream.batch(run.step * photographs, photographs, share)
        parts.insert(0, to_size(seen.to(latent_avg), size))
    return torch.cat(parts), known


def _parts(
    run: EncoderState,
    losses: ImageLosses,
    rendered: Tensor,
    x: Tensor,
    codes: Tensor,
    known: Tensor,
    variance: Tensor,
    stage: int,
) -> Iterator[tuple[str, float, Tensor]]:
    """Yield name, weight and value of each part of the loss."""
    config = run.config
    images = losses.parts(rendered, x)
    yield "l2", config.l2, images["l2"]
    yield "perceptual", config.perceptual, images["perceptual"]
    if "similarity" in images:
        yield "similarity", config.similarity_weight, images["similarity"]
    if len(known):
        yield "code", config.code, unexplained(codes[-len(known) :], known, variance).mean()
    if config.architecture.progressive:
        yield "delta", config.delta, delta_size(codes, stage)
        run.D.requires_grad_(False)
        yield "adversarial", config.adversarial, adversarial_loss(run.D, codes, stage)
        run.D.requires_grad_(True)


def _train_discriminator(
    run: EncoderState, G: Generator, codes: Tensor, stage: int, rng: torch.Generator, processes: Processes
) -> None:
    """Teach the latent discriminator to tell the encoder's styles from the generator's; now and then keep it smooth.

    Args:
        codes: this process's, [N, L, D], without gradients.
    """
    config, share = run.config, processes.strided
    with torch.no_grad():
        own = G.mapping(torch.randn(config.batch, G.z_dim, generator=rng, device=codes.device).to(codes.dtype))
    chance = torch.Generator().manual_seed(rng.initial_seed())
    real = share.of(run.pools[0].exchange(own, chance))
    fake = share.of(run.pools[1].exchange(processes.gather(codes[:, : stage + 1]), chance))
    loss = discriminator_loss(run.D, real, fake)
    loss.backward()
    processes.step(run.optimizer_discriminator)
    run.note("discriminator", loss)
    if run.step % config.r1_interval == 0:
        penalty = r1_penalty(run.D, real)
        (penalty * (config.r1 / 2 * config.r1_interval)).backward()
        processes.step(run.optimizer_discriminator)
        run.note("r1", penalty)


def _facts(config: EncoderConfig, losses: ImageLosses, seed: int, sources: dict[str, str]) -> dict[str, object]:
    return {
        "generator_sha256": sources["generator"],
        "dataset_sha256": sources["dataset"],
        "seed": seed,
        "losses": losses.names,
        "generated": config.generated / config.batch,
    }


def _count(run: EncoderState) -> int:
    return sum(p.numel() for p in run.encoder.network.parameters())


def _prepare(folder: EncoderFolder, run: EncoderState, resume: bool, processes: Processes) -> None:
    """Let process 0 bring the files to where training goes on; then all hold the same state."""
    if processes.rank == 0:
        folder.prepare(run, resume)
    going_on = processes.tell(run.step)
    if processes.rank > 0 and going_on:
        run.load(folder.path / STATE)
