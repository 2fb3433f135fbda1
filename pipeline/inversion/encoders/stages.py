"""The stage "encoder", for its own command and for `atlas run`."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from atlas.preset import EncoderSettings
from atlas.progress import Progress, silent
from atlas.stage import Log, Stage
from pipeline.features import weights_sha256
from pipeline.inversion.encoders.config import completed

if TYPE_CHECKING:
    from pipeline.processes import Processes

NAME = "encoder"
VERSION = 1


def encoder_stage(
    method: str,
    generator: Path,
    dataset: Path,
    settings: EncoderSettings,
    seed: int,
    device: str,
    out: Path,
    record: Path,
    log: Log = print,
    progress: Progress = silent,
    processes: Processes | None = None,
) -> tuple[Stage, Callable[[bool], None]]:
    """Return the stage that trains an encoder, and its work (`atlas.stage.run_stage`).

    Args:
        method: "e4e" or "restyle".
        generator: ``generator.safetensors``.
        dataset: ``dataset.zip``.
        settings: the preset's ``[encoder]``; with more ``steps`` a finished stage trains on.
        seed: of weights, order and chance.
        device: where PyTorch runs.
        out: ``encoders/METHOD.safetensors``.
        record: the stage's record.
        log: takes a line of news now and then.
        progress: told of steps.
        processes: those that train together; one, where none are given.

    Raises:
        InputError: a file that is asked for is not there, or the generator or a setting cannot be used.
    """
    from pipeline.inversion.encoders.folder import STATE, STATS, working_folder
    from pipeline.inversion.encoders.training import inputs, train_encoder
    from pipeline.processes import ALONE

    settings, folder = completed(settings), working_folder(out)
    # Where the user's own networks lie does not matter; what they are stands among the inputs.
    chosen = {k: v for k, v in dataclasses.asdict(settings).items() if k not in ("lpips", "moco")}
    stage = Stage(
        name=f"{NAME} {method}",
        version=VERSION,
        record=record,
        inputs=inputs(generator, dataset, settings),
        settings={**chosen, "method": method, "seed": seed, "features": weights_sha256()},
        outputs={"encoder": out, "training state": folder / STATE, "statistics": folder / STATS},
        grows=("steps",),
        discard=lambda: (folder / STATE).unlink(missing_ok=True),
    )

    def work(resume: bool) -> None:
        train_encoder(
            method,
            generator,
            dataset,
            settings,
            seed,
            out,
            device=device,
            resume=resume,
            log=log,
            progress=progress,
            processes=processes or ALONE,
        )

    return stage, work
