"""The stage "train", for its own command and for `atlas run`."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

from atlas.errors import InputError
from atlas.preset import TrainSettings
from atlas.progress import Progress, silent
from atlas.stage import Log, Stage, Work
from pipeline.gan.config import TrainConfig
from pipeline.gan.transfer import configure, initial_files
from pipeline.photos.dataset import open_dataset

if TYPE_CHECKING:
    from pipeline.processes import Processes

NAME = "train"
VERSION = 1
# Settings that came after version 1: recorded only where they are not what was done before, so that runs of then go on.
_LATER = ("p", "blit", "geometry", "colour", "init")


def train_stage(
    dataset: Path,
    settings: TrainSettings,
    seed: int,
    device: str,
    folder: Path,
    log: Log = print,
    progress: Progress = silent,
    processes: Processes | None = None,
) -> tuple[Stage, Work]:
    """Return the stage that trains on ``dataset`` into ``folder``, and its work (`atlas.stage.run_stage`).

    Its settings are all hyperparameters as resolved, so that a changed rule runs the stage as a changed preset does.
    Its record says whether native operators ran, which round otherwise than the plain ones.

    Raises:
        InputError: the dataset or a setting cannot be used.
    """
    initial = initial_files(settings.init)
    if any(folder.resolve() in file.resolve().parents for file in initial.values()):
        raise InputError(f"training into {folder} cannot begin from a network in it, which it replaces: move that away")
    config, _ = configure(settings, open_dataset(dataset).size)
    stage = Stage(
        name=NAME,
        version=VERSION,
        record=folder / "stage.json",
        inputs={"dataset": dataset, **initial},
        settings={**_recorded(config), "config": settings.config, "kimg": settings.kimg, "seed": seed},
        outputs={
            "generator": folder / "generator.safetensors",
            "discriminator": folder / "discriminator.safetensors",
            "training state": folder / "training-state.safetensors",
            "statistics": folder / "stats.jsonl",
        },
        grows=("kimg",),
        discard=lambda: (folder / "training-state.safetensors").unlink(missing_ok=True),
    )

    def work(resume: bool) -> dict[str, bool]:
        import torch  # here, with all that needs it, so that planning a run imports no PyTorch

        from pipeline.gan.checkpoint import check_device
        from pipeline.gan.native import times_given
        from pipeline.gan.training import train
        from pipeline.processes import ALONE

        check_device(device)
        before = times_given(torch.device(device))
        train(
            dataset,
            folder,
            settings,
            seed,
            device=device,
            resume=resume,
            log=log,
            progress=progress,
            processes=processes or ALONE,
        )
        return {"native_operators": times_given(torch.device(device)) > before}

    return stage, work


def _recorded(config: TrainConfig) -> dict[str, object]:
    usual = {field.name: field.default for field in dataclasses.fields(config)}
    settings = dataclasses.asdict(config)
    return {name: v for name, v in settings.items() if name not in _LATER or v != usual[name]}
