"""A training's folder: the state, what is derived from it, and the statistics; and bringing it to where a run goes on.

``training-state.safetensors`` is the truth (`pipeline.gan.state`); ``generator.safetensors`` (the averaged one),
``discriminator.safetensors`` and ``samples/*.png`` are derived from it, and so was, when it was there, each averaged
generator in ``snapshots/``, named by the number of images like the grid of samples of its time. ``stats.jsonl`` has a
line per tick and is cut back to the state when a run goes on; TensorBoard's event file is made from it.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from atlas.faults import fault_point
from atlas.files import remove_partials, require_space
from atlas.stage import Log
from pipeline.gan.board import EVENTS, Board
from pipeline.gan.checkpoint import save_network
from pipeline.gan.samples import sample_latents, write_samples
from pipeline.gan.state import STATISTICS, TrainingState
from pipeline.gan.statlines import add_line, cut_lines

STATE, GENERATOR, DISCRIMINATOR = "training-state.safetensors", "generator.safetensors", "discriminator.safetensors"
STATS, SAMPLES, SNAPSHOTS = "stats.jsonl", "samples", "snapshots"


@dataclass(frozen=True)
class TrainingFolder:
    """The folder of one training, and who is told of it.

    Attributes:
        path: of the folder.
        log: takes lines of news.
    """

    path: Path
    log: Log

    def prepare(self, run: TrainingState, resume: bool, snapshots: int = 0) -> None:
        """Bring the folder to the state that the run goes on from, and load that state if there is one.

        Args:
            run: as it is before the first iteration.
            resume: False removes all there is and starts over.
            snapshots: how many generators the run keeps by its end, for the look at the disk.

        Raises:
            InputError: the state is damaged or of another run.
            SpaceError: the disk is too full.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        remove_partials(self.path)
        if not resume:
            self.clear()
        generator, discriminator = (
            sum(t.numel() * t.element_size() for t in network.state_dict().values()) for network in (run.G, run.D)
        )
        ahead = max(0, snapshots - len(list((self.path / SNAPSHOTS).glob("*.safetensors"))))
        needed = 10 * (generator + discriminator) + ahead * generator
        require_space(self.path, needed, f"the training state with its temporary copy, and {ahead} snapshots")
        if (self.path / STATE).exists():
            run.load(self.path / STATE)
            self.log(f"train: going on from {run.images / 1000:.1f} kimg")
            self._publish(run)
        self._cut_statistics(run)

    def clear(self) -> None:
        """Remove what an earlier run left."""
        shutil.rmtree(self.path / SAMPLES, ignore_errors=True)
        shutil.rmtree(self.path / SNAPSHOTS, ignore_errors=True)
        shutil.rmtree((self.path / EVENTS).parent, ignore_errors=True)
        for name in (STATE, GENERATOR, DISCRIMINATOR, STATS):
            (self.path / name).unlink(missing_ok=True)

    def _cut_statistics(self, run: TrainingState) -> None:
        stats, board = self.path / STATS, Board(self.path)
        cut_lines(stats, run.stats_bytes, lambda line: self.log(f"train: {line}"))
        if not board.present:
            self.log("train: TensorBoard is not installed; the statistics are in stats.jsonl only")
        board.begin(stats)

    def tell(self, run: TrainingState, speed: float, seconds_left: float) -> None:
        """Write and log what happened since the last tick."""
        means = dict(zip(STATISTICS, (run.sums[0] / run.sums[1].clamp(min=1)).tolist(), strict=True))
        line = {"kimg": run.images / 1000, **means, "pl_mean": run.pl_mean.item(), "p": run.ada.p, "r_t": run.ada.r_t}
        run.stats_bytes = add_line(self.path / STATS, line)
        Board(self.path).add(line)
        discriminator = means["loss_fakes"] + means["loss_photographs"]
        self.log(
            f"train: {run.images / 1000:.1f} kimg, {speed:.0f} img/s, p {run.ada.p:.3f}, "
            f"G {means['loss_generator']:.3f}, D {discriminator:.3f}, {seconds_left / 60:.1f} min left"
        )

    def checkpoint(self, run: TrainingState) -> None:
        """Write the state, then what is derived from it."""
        fault_point("train.before-checkpoint")
        run.save(self.path / STATE)
        self._publish(run)
        fault_point("train.after-checkpoint")

    def _publish(self, run: TrainingState) -> None:
        save_network(run.G_ema, self.path / GENERATOR)
        fault_point("train.mid-checkpoint")
        save_network(run.D, self.path / DISCRIMINATOR)
        pictures = [self.path / SAMPLES / "latest.png"]
        if run.iteration % run.config.iterations(run.config.snapshot_kimg) == 0:
            pictures.append(self.path / SAMPLES / f"{run.images:09d}.png")
            save_network(run.G_ema, self.path / SNAPSHOTS / f"{run.images:09d}.safetensors")
        write_samples(run.G_ema, sample_latents(run.G_ema, run.seed), pictures)
