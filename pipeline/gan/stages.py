"""The stage "train", for its own command and for `atlas run`."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

from atlas.preset import TrainSettings
from atlas.progress import Progress, silent
from atlas.stage import Log, Stage
from pipeline.gan.config import resolve
from pipeline.photos.dataset import open_dataset

NAME = "train"
VERSION = 1


def train_stage(
    dataset: Path,
    settings: TrainSettings,
    seed: int,
    device: str,
    folder: Path,
    log: Log = print,
    progress: Progress = silent,
) -> tuple[Stage, Callable[[bool], None]]:
    """Return the stage that trains on ``dataset`` into ``folder``, and its work (`atlas.stage.run_stage`).

    Its settings are all hyperparameters as resolved, so that a changed rule runs the stage as a changed preset does.

    Raises:
        InputError: the dataset or a setting cannot be used.
    """
    config = resolve(settings, open_dataset(dataset).size)
    stage = Stage(
        name=NAME,
        version=VERSION,
        record=folder / "stage.json",
        inputs={"dataset": dataset},
        settings={**dataclasses.asdict(config), "config": settings.config, "kimg": settings.kimg, "seed": seed},
        outputs={
            "generator": folder / "generator.safetensors",
            "discriminator": folder / "discriminator.safetensors",
            "training state": folder / "training-state.safetensors",
            "statistics": folder / "stats.jsonl",
        },
        grows=("kimg",),
        discard=lambda: (folder / "training-state.safetensors").unlink(missing_ok=True),
    )

    def work(resume: bool) -> None:
        from pipeline.gan.training import train  # here, so that planning a run imports no PyTorch

        train(dataset, folder, settings, seed, device=device, resume=resume, log=log, progress=progress)

    return stage, work
