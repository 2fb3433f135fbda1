"""Training e4e and ReStyle: one visible loop that resumes exactly where it was killed.

Beside the encoder, ``METHOD.safetensors``, lies the folder ``METHOD.training``: ``state.safetensors`` (the truth, see
`pipeline.inversion.encoders.state`), ``stats.jsonl`` and ``sheets/*.png``, photographs and their reconstructions. The
encoder and the sheets are derived from the state. Nothing depends on how long the run shall be, so a longer one goes on
from a finished shorter one.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from atlas.errors import InputError
from atlas.faults import fault_point
from atlas.files import PARTIAL_SUFFIX, remove_partials, require_space, sha256_path
from atlas.preset import EncoderSettings
from atlas.progress import Progress, silent
from atlas.stage import Log
from pipeline.gan import Generator, load_generator
from pipeline.gan.checkpoint import check_device
from pipeline.gan.stream import PhotographStream
from pipeline.inversion.encoders.config import EncoderConfig, completed, resolve
from pipeline.inversion.encoders.discriminator import adversarial_loss, discriminator_loss, r1_penalty
from pipeline.inversion.encoders.encoder import check_unconditional, to_size
from pipeline.inversion.encoders.files import save_encoder
from pipeline.inversion.encoders.losses import ImageLosses, delta_size, unexplained
from pipeline.inversion.encoders.sheets import COLUMNS, write_sheet
from pipeline.inversion.encoders.state import EncoderState, step_rng
from pipeline.inversion.selection import held_out
from pipeline.photos.dataset import Dataset, open_dataset

STATE, STATS, SHEETS = "state.safetensors", "stats.jsonl", "sheets"
TICK = 50  # steps between lines of statistics
SHEET_PHOTOGRAPHS = 2 * COLUMNS
VARIANCE_SAMPLES = 4096


def working_folder(out: Path) -> Path:
    """Return where the training of the encoder ``out`` keeps its state, statistics and sheets."""
    return out.with_suffix(".training")


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
) -> None:
    """Train an encoder for a generator until ``settings.steps`` steps were taken (0: as many as its configuration has).

    Photographs that are held out for comparing inversions are never trained on; they are those on the sheets.

    Args:
        method: "e4e" or "restyle".
        generator: its file; resolution, number and size of styles are read from it.
        dataset: a ``dataset.zip``; photographs of any size.
        settings: the preset's ``[encoder]``.
        seed: of weights, order and chance.
        out: ``METHOD.safetensors``; `working_folder` lies beside it.
        device: "cpu", "cuda", …
        resume: go on from the state beside ``out`` if there is one; False removes it and starts over.
        log: takes a line of news now and then.
        progress: told the number of steps.

    Raises:
        InputError: an input or a setting cannot be used, or the state is damaged or of another run.
        DivergedError: training left the range of numbers; the last checkpoint is kept.
        SpaceError: the disk is too full for the checkpoints.
    """
    check_device(device)
    settings = completed(settings)
    G = load_generator(generator, device)
    check_unconditional(G, str(generator))
    config = resolve(method, settings, G.architecture)
    photographs = open_dataset(dataset)
    stream = PhotographStream(_trained_on(photographs), seed, config.mirror)
    sources = {name: sha256_path(path) for name, path in inputs(generator, dataset, settings).items()}
    run = EncoderState(config, seed, sources, G, device)
    losses = ImageLosses.load(config, settings.lpips, settings.moco, device)
    facts = _facts(config, losses, seed, sources)
    shown = to_tensor(photographs, _shown(photographs), device)
    _prepare(out, run, facts, settings.half, shown, resume, log)
    log(f"encoder: {method}, {_count(run):,} weights, {len(stream.dataset.files)} photographs, {losses.names}")

    arch, variance = config.architecture, code_variance(G)
    started, begun = time.monotonic(), run.step
    while run.step < settings.steps:
        fault_point("encoder.step")
        stage, rng = config.stage(run.step), step_rng(seed, run.step, device)
        x, known = _images(run, G, stream, rng)
        codes, look = run.encoder.latent_avg.expand(len(x), -1, -1), None
        if arch.method == "restyle":
            with torch.no_grad():
                look = run.encoder.average_image().expand(len(x), -1, -1, -1)

        for iteration in range(arch.iterations):
            codes = codes.detach() + run.encoder.network(x if look is None else torch.cat([x, look], 1), stage)
            if arch.progressive and iteration == 0:
                _train_discriminator(run, G, codes.detach(), stage, rng)
            rendered = to_size(G.synthesis(codes, noise_mode="random", rng=rng), arch.size)
            loss = codes.new_zeros(())
            for name, weight, value in _parts(run, losses, rendered, x, codes, known, variance, stage):
                loss = loss + weight * value
                run.note(name, value)
            run.note("loss", loss)
            loss.backward()
            look = rendered.detach()
        run.optimizer.step()
        run.update_average()
        run.step += 1

        last = run.step == settings.steps
        if run.step % TICK == 0:
            pace = (time.monotonic() - started) / (run.step - begun)
            _tell(out, run, stage, pace, settings.steps, log)
        progress(run.step, settings.steps)
        if run.step % config.checkpoint == 0 or last:
            run.check_finite()
            fault_point("encoder.before-checkpoint")
            run.save(working_folder(out) / STATE)
            _publish(out, run, facts, settings.half, shown)
            fault_point("encoder.after-checkpoint")


@torch.no_grad()
def code_variance(generator: Generator) -> Tensor:
    """Return the variance of the generator's w, averaged over its numbers: a scalar."""
    device = generator.mapping.w_avg.device
    z = torch.randn(VARIANCE_SAMPLES, generator.z_dim, generator=torch.Generator().manual_seed(0))
    return generator.mapping(z.to(device))[:, 0].var(0).mean()


def to_tensor(dataset: Dataset, indices: np.ndarray, device: str) -> Tensor:
    """Return photographs as [N, 3, H, W] float32 in [-1, 1]."""
    pixels = torch.from_numpy(dataset.images(indices)).to(device)
    return pixels.permute(0, 3, 1, 2).float() / 127.5 - 1


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


def _images(run: EncoderState, G: Generator, stream: PhotographStream, rng: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return a step's images [N, 3, size, size], photographs first, and the known codes of the generated ones."""
    config = run.config
    size, device = config.architecture.size, run.encoder.latent_avg.device
    photographs = config.batch - config.generated
    z = torch.randn(config.generated, G.z_dim, generator=rng, device=device)
    with torch.no_grad():
        known = G.mapping(z)
        parts = [to_size(G.synthesis(known, noise_mode="random", rng=rng), size)] if config.generated else []
    if photographs:
        parts.insert(0, to_size(stream.batch(run.step * photographs, photographs).to(device), size))
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


def _train_discriminator(run: EncoderState, G: Generator, codes: Tensor, stage: int, rng: torch.Generator) -> None:
    """Teach the latent discriminator to tell the encoder's styles from the generator's; now and then keep it smooth."""
    config, device = run.config, codes.device
    with torch.no_grad():
        own = G.mapping(torch.randn(len(codes), G.z_dim, generator=rng, device=device))
    chance = torch.Generator().manual_seed(rng.initial_seed())
    real = run.pools[0].exchange(own, chance)
    fake = run.pools[1].exchange(codes[:, : stage + 1], chance)
    loss = discriminator_loss(run.D, real, fake)
    loss.backward()
    run.optimizer_discriminator.step()
    run.note("discriminator", loss)
    if run.step % config.r1_interval == 0:
        penalty = r1_penalty(run.D, real)
        (penalty * (config.r1 / 2 * config.r1_interval)).backward()
        run.optimizer_discriminator.step()
        run.note("r1", penalty)


def _tell(out: Path, run: EncoderState, stage: int, pace: float, steps: int, log: Log) -> None:
    """Write and log what happened since the last tick."""
    run.check_finite()
    line = {"step": run.step, "stage": stage, **run.take_means()}
    with (working_folder(out) / STATS).open("ab") as stream:
        stream.write((json.dumps(line, allow_nan=False) + "\n").encode())
        run.stats_bytes = stream.tell()
    told = ", ".join(f"{name} {line[name]:.3f}" for name in ("l2", "perceptual", "code") if name in line)
    speed, left = run.config.batch / pace, pace * (steps - run.step) / 60
    log(f"encoder: step {run.step}, {speed:.0f} img/s, {told}, {left:.1f} min left")


def _publish(out: Path, run: EncoderState, facts: dict[str, object], half: bool, shown: Tensor) -> None:
    """Write what is derived from the state."""
    run.kept.stage = run.config.stage(run.step - 1)
    save_encoder(run.kept, out, {**facts, "steps": run.step}, half=half)
    fault_point("encoder.mid-publish")
    sheets = working_folder(out) / SHEETS
    pictures = [sheets / "latest.png"]
    if run.step % run.config.checkpoint == 0:
        pictures.append(sheets / f"{run.step:07d}.png")
    write_sheet(run.kept, shown, pictures)


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


def _prepare(
    out: Path, run: EncoderState, facts: dict[str, object], half: bool, shown: Tensor, resume: bool, log: Log
) -> None:
    """Bring the files and the state to where training goes on."""
    folder = working_folder(out)
    folder.mkdir(parents=True, exist_ok=True)
    remove_partials(folder)
    for leftover in out.parent.glob(f".{out.name}.*{PARTIAL_SUFFIX}"):
        leftover.unlink(missing_ok=True)
    state, stats = folder / STATE, folder / STATS
    if not resume:
        shutil.rmtree(folder / SHEETS, ignore_errors=True)
        for path in (out, state, stats):
            path.unlink(missing_ok=True)
    size = 4 * sum(t.numel() for t in run.encoder.network.state_dict().values())
    require_space(out.parent, 12 * size, "the training state with its temporary copy")
    if state.exists():
        run.load(state)
        log(f"encoder: going on from step {run.step}")
        _publish(out, run, facts, half, shown)
    stats.touch()
    if stats.stat().st_size < run.stats_bytes:
        log(f"encoder: {stats} is shorter than it was at the checkpoint; what is missing is lost")
    with stats.open("ab") as stream:
        stream.truncate(run.stats_bytes)
