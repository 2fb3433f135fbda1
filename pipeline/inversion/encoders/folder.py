"""What an encoder's training writes: the encoder, and beside it the state, the statistics and the sheets.

Beside ``METHOD.safetensors`` lies the folder ``METHOD.training``: ``state.safetensors`` (the truth, see
`pipeline.inversion.encoders.state`), ``stats.jsonl``, cut back to the state when a run goes on, and ``sheets/*.png``,
photographs and their reconstructions. The encoder and the sheets are derived from the state.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from atlas.faults import fault_point
from atlas.files import remove_partials, remove_partials_of, require_space
from atlas.stage import Log
from pipeline.gan.statlines import add_line, cut_lines
from pipeline.inversion.encoders.files import save_encoder
from pipeline.inversion.encoders.sheets import write_sheet
from pipeline.inversion.encoders.state import EncoderState

STATE, STATS, SHEETS = "state.safetensors", "stats.jsonl", "sheets"


def working_folder(out: Path) -> Path:
    """Return where the training of the encoder ``out`` keeps its state, statistics and sheets."""
    return out.with_suffix(".training")


@dataclass(frozen=True)
class EncoderFolder:
    """The files of one training, and who is told of it.

    Attributes:
        out: the encoder, ``METHOD.safetensors``.
        facts: JSON-able; how it is trained, written into it.
        half: whether its weights are written as float16.
        shown: photographs for the sheets, [N, 3, H, H] in [-1, 1].
        log: takes lines of news.
    """

    out: Path
    facts: Mapping[str, object]
    half: bool
    shown: Tensor
    log: Log

    @property
    def path(self) -> Path:
        """Return the working folder."""
        return working_folder(self.out)

    def prepare(self, run: EncoderState, resume: bool) -> None:
        """Bring the files to the state that the run goes on from, and load that state if there is one.

        Args:
            run: as it is before the first step.
            resume: False removes all there is and starts over.

        Raises:
            InputError: the state is damaged or of another run.
            SpaceError: the disk is too full.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        remove_partials(self.path)
        remove_partials_of(self.out)
        state, stats = self.path / STATE, self.path / STATS
        if not resume:
            shutil.rmtree(self.path / SHEETS, ignore_errors=True)
            for path in (self.out, state, stats):
                path.unlink(missing_ok=True)
        size = 4 * sum(t.numel() for t in run.encoder.network.state_dict().values())
        require_space(self.out.parent, 12 * size, "the training state with its temporary copy")
        if state.exists():
            run.load(state)
            self.log(f"encoder: going on from step {run.step}")
            self._publish(run)
        cut_lines(stats, run.stats_bytes, lambda line: self.log(f"encoder: {line}"))

    def tell(self, run: EncoderState, speed: float, seconds_left: float) -> None:
        """Write and log what happened since the last tick; ``speed`` is in images a second."""
        line = {"step": run.step, "stage": run.config.stage(run.step - 1), **run.means()}
        run.stats_bytes = add_line(self.path / STATS, line)
        told = ", ".join(f"{name} {line[name]:.3f}" for name in ("l2", "perceptual", "code") if name in line)
        self.log(f"encoder: step {run.step}, {speed:.0f} img/s, {told}, {seconds_left / 60:.1f} min left")

    def checkpoint(self, run: EncoderState) -> None:
        """Write the state, then what is derived from it."""
        fault_point("encoder.before-checkpoint")
        run.save(self.path / STATE)
        self._publish(run)
        fault_point("encoder.after-checkpoint")

    def _publish(self, run: EncoderState) -> None:
        run.kept.stage = run.config.stage(run.step - 1)
        save_encoder(run.kept, self.out, {**self.facts, "steps": run.step}, half=self.half)
        fault_point("encoder.mid-publish")
        sheets = self.path / SHEETS
        pictures = [sheets / "latest.png"]
        if run.step % run.config.checkpoint == 0:
            pictures.append(sheets / f"{run.step:07d}.png")
        write_sheet(run.kept, self.shown, pictures)
