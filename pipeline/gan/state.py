"""Everything that training needs to go on exactly where it stopped, and its one file, ``training-state.safetensors``.

The file is the truth: networks, averaged generator, both optimisers, augmentation, running means, position and random
state, written whole or not at all. The other files of a run are derived from it.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import MISSING, asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pipeline.gan.ada import AdaController
from pipeline.gan.checkpoint import set_precision
from pipeline.gan.config import TrainConfig
from pipeline.gan.networks import Discriminator, Generator
from pipeline.gan.optimizer import Adam
from pipeline.gan.statefile import DivergedError, StateFile, take_over
from pipeline.gan.transfer import Beginning

_FILE = StateFile(
    key="training",
    version=1,
    facts=("config", "seed", "photographs", "iteration", "steps", "p", "r_t", "stats_bytes"),
    name="training state",
    place="folder",
    fault="train.mid-checkpoint",
)
STATISTICS = ("loss_generator", "loss_fakes", "loss_photographs", "r1", "path_length")
# What settings that came after format 1 stand for where a file does not name them.
_LATER = {field.name: field.default for field in fields(TrainConfig) if field.default is not MISSING}


@dataclass
class TrainingState:
    """The state of one run.

    Attributes:
        config, seed, photographs: what the run is of; they must match to go on (photographs: their number).
        G, D: the networks in training; G_ema the averaged generator, the one that is used afterwards.
        adam_generator, adam_discriminator: their optimisers, corrected for lazy regularisation.
        rng: where all chance comes from.
        ada: controller of the augmentation.
        pl_mean: running mean of path lengths, a scalar.
        signs: [2] float64: sum and number of signs of logits on photographs since p was adjusted.
        sums: [2, len(STATISTICS)] float64: sums and counts since the last line of statistics.
        iteration: how many are done.
        stats_bytes: length of ``stats.jsonl`` so far.
    """

    config: TrainConfig
    seed: int
    photographs: int
    G: Generator
    D: Discriminator
    G_ema: Generator
    adam_generator: Adam
    adam_discriminator: Adam
    rng: torch.Generator
    ada: AdaController
    pl_mean: Tensor
    signs: Tensor
    sums: Tensor
    iteration: int = 0
    stats_bytes: int = 0

    @classmethod
    def new(
        cls, config: TrainConfig, seed: int, photographs: int, device: str, beginning: Beginning | None = None
    ) -> TrainingState:
        """Return the state before the first iteration, with random networks or those to begin from."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            G, D = Generator(config.generator()), Discriminator(config.discriminator())
        if beginning is not None:
            G.load_state_dict(beginning.G.state_dict())
            if beginning.D is not None:
                D.load_state_dict(beginning.D.state_dict())
        for network in (G, D):
            set_precision(network, config.precision, device)
            network.to(device)
        return cls(
            config=config,
            seed=seed,
            photographs=photographs,
            G=G,
            D=D,
            G_ema=copy.deepcopy(G).eval().requires_grad_(False),
            adam_generator=_adam(G, config.lr_generator, config.pl_interval, config),
            adam_discriminator=_adam(D, config.lr_discriminator, config.r1_interval, config),
            rng=torch.Generator(device).manual_seed(seed),
            ada=AdaController(config.ada_target, config.ada_kimg, config.p_max, p=config.p),
            pl_mean=torch.zeros([], device=device, dtype=G.mapping.w_avg.dtype),
            signs=torch.zeros(2, dtype=torch.float64, device=device),
            sums=torch.zeros(2, len(STATISTICS), dtype=torch.float64, device=device),
        )

    @property
    def images(self) -> int:
        """Return how many images have been shown."""
        return self.iteration * self.config.batch

    def check_finite(self) -> None:
        """Refuse to keep a state that is no longer made of numbers.

        Raises:
            DivergedError: a weight or a loss is infinite or not a number.
        """
        watched: Iterable[Tensor] = (self.sums, self.pl_mean, *self.G.parameters(), *self.D.parameters())
        if not all(bool(t.isfinite().all()) for t in watched):
            raise DivergedError(
                f"training diverged before {self.images / 1000:.1f} kimg: a weight or loss is no finite number; "
                "the last checkpoint is kept; start over with another --gamma, a larger --batch or --precision fp32"
            )

    def save(self, path: Path) -> None:
        """Write the state, whole or not at all."""
        facts = {
            **self._run(),
            "iteration": self.iteration,
            "steps": [self.adam_generator.steps, self.adam_discriminator.steps],
            "p": self.ada.p,
            "r_t": self.ada.r_t,
            "stats_bytes": self.stats_bytes,
        }
        _FILE.write(path, facts, [*self._tensors(), ("rng", self.rng.get_state())])

    def load(self, path: Path) -> None:
        """Take over the state that `save` wrote for the same configuration, seed and number of photographs.

        Raises:
            InputError: the file is damaged, or of another run.
        """
        facts, tensors = _FILE.read(path)
        mine, theirs = self._run(), {name: facts[name] for name in ("config", "seed", "photographs")}
        _FILE.check_same_run(path, _flat(mine), _LATER | _flat(theirs))
        rng = self.rng.get_state()
        take_over(path, {**dict(self._tensors()), "rng": rng}, tensors)
        self.rng.set_state(rng)
        self.iteration, self.stats_bytes = facts["iteration"], facts["stats_bytes"]
        self.adam_generator.steps, self.adam_discriminator.steps = facts["steps"]
        self.ada.p, self.ada.r_t = facts["p"], facts["r_t"]

    def _run(self) -> dict[str, Any]:
        return {"config": asdict(self.config), "seed": self.seed, "photographs": self.photographs}

    def _tensors(self) -> Iterator[tuple[str, Tensor]]:
        """Yield every tensor of the state but the random one, by name; live, so that `load` can fill them."""
        for prefix, network in (("G", self.G), ("D", self.D), ("G_ema", self.G_ema)):
            for name, tensor in network.state_dict().items():
                yield f"{prefix}.{name}", tensor
        for prefix, network, adam in (
            ("adam_generator", self.G, self.adam_generator),
            ("adam_discriminator", self.D, self.adam_discriminator),
        ):
            for (name, _), moment in zip(network.named_parameters(), adam.moments, strict=True):
                yield f"{prefix}.{name}", moment
        yield from (("pl_mean", self.pl_mean), ("signs", self.signs), ("sums", self.sums))


def _adam(network: nn.Module, rate: float, interval: int, config: TrainConfig) -> Adam:
    """Return the optimiser of a network whose regularisation runs every ``interval`` iterations.

    Lazy regularisation makes interval + 1 steps where there would be interval; the rate and β2 are corrected for it
    (Karras et al. 2020, appendix B).
    """
    ratio = interval / (interval + 1) if interval else 1.0
    return Adam(network, rate * ratio, config.beta2**ratio, config.adam_epsilon)


def _flat(run: Mapping[str, Any]) -> dict[str, Any]:
    return {**run["config"], "seed": run["seed"], "photographs": run["photographs"]}
