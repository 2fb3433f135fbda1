"""Everything that an encoder's training needs to go on exactly where it stopped, and its one file.

Chance needs no place in it: what is drawn in a step is a function of the seed and the step (`step_rng`).
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pipeline.gan import Generator
from pipeline.gan.statefile import DivergedError, StateFile, take_over
from pipeline.inversion.encoders.config import EncoderConfig
from pipeline.inversion.encoders.discriminator import LatentDiscriminator, LatentPool
from pipeline.inversion.encoders.encoder import Encoder
from pipeline.inversion.encoders.optimizers import Optimizer

_FILE = StateFile(
    key="encoder-training",
    version=1,
    facts=("run", "step", "steps", "stats_bytes"),
    name="state of an encoder's training",
    place="file",
    fault="encoder.mid-checkpoint",
)
STATISTICS = (
    *("loss", "l2", "perceptual", "similarity", "code", "delta", "adversarial"),
    *("discriminator", "r1"),
)


def step_rng(seed: int, step: int, device: str | torch.device = "cpu") -> torch.Generator:
    """Return where all chance of one training step comes from."""
    mixed = np.random.SeedSequence([seed, step]).generate_state(1, np.uint64)[0]
    return torch.Generator(device).manual_seed(int(mixed >> 1))


class EncoderState:
    """The state of one training run.

    Attributes:
        config, seed, sources: what the run is of; they must match to go on (sources: the digests of its inputs).
        encoder: in training. kept: its averaged copy, the one that is used afterwards; itself where none is wanted.
        optimizer: of the encoder.
        D, optimizer_discriminator, pools: the latent discriminator with the pools of the generator's and the encoder's
            styles; unused where styles are not progressive.
        sums: [2, len(STATISTICS)] float64: sums and counts since the last line of statistics.
        step: how many are done.
        stats_bytes: length of ``stats.jsonl`` so far.
    """

    def __init__(self, config: EncoderConfig, seed: int, sources: Mapping[str, str], generator: Generator) -> None:
        """Begin a run for a generator, where that is and in its type (float64 for checks)."""
        self.config, self.seed, self.sources = config, seed, dict(sources)
        arch = config.architecture
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.encoder = Encoder(arch, generator.mapping.w_avg.cpu(), generator)
            self.D = LatentDiscriminator(arch.w_dim)
        self.encoder.to(generator.mapping.w_avg).train()
        self.D.to(generator.mapping.w_avg)
        self.kept = copied(self.encoder) if config.average else self.encoder
        betas = (config.beta1, config.beta2)
        self.optimizer = Optimizer(self.encoder.network, config.optimizer, config.lr, betas, config.epsilon)
        self.optimizer_discriminator = Optimizer(self.D, "adam", config.lr_discriminator, (0.9, 0.999))
        self.pools = [LatentPool(config.pool, arch.w_dim, generator.mapping.w_avg) for _ in ("real", "fake")]
        self.sums = torch.zeros(2, len(STATISTICS), dtype=torch.float64, device=generator.mapping.w_avg.device)
        self.step = self.stats_bytes = 0

    @torch.no_grad()
    def update_average(self) -> None:
        """Move the kept weights and running statistics towards the encoder's; the half-life grows with the run."""
        if self.kept is self.encoder:
            return
        half_life = min(self.config.average, 0.1 * (self.step + 1))
        share = 1 - 0.5 ** (1 / half_life)
        kept, own = self.kept.network.state_dict(), self.encoder.network.state_dict()
        for name, mean in kept.items():
            if mean.is_floating_point():
                mean.lerp_(own[name], share)
            else:
                mean.copy_(own[name])

    def note(self, name: str, value: Tensor) -> None:
        """Add a scalar to the statistics."""
        column = STATISTICS.index(name)
        self.sums[0, column] += value.detach().double()
        self.sums[1, column] += 1

    def means(self) -> dict[str, float]:
        """Return the statistics' means since the last time, of those that there are."""
        return {n: (s / c).item() for n, s, c in zip(STATISTICS, self.sums[0], self.sums[1], strict=True) if c}

    def check_finite(self) -> None:
        """Refuse to keep a state that is no longer made of numbers.

        Raises:
            DivergedError: a weight or a loss is infinite or not a number.
        """
        watched = (self.sums, *self.encoder.network.state_dict().values(), *self.D.parameters())
        if not all(bool(t.isfinite().all()) for t in watched):
            raise DivergedError(
                f"the encoder's training diverged before step {self.step}: a weight or loss is no finite number; the "
                "last checkpoint is kept; start over with a smaller --lr or a larger --batch"
            )

    def save(self, path: Path) -> None:
        """Write the state, whole or not at all."""
        facts = {
            "run": self._run(),
            "step": self.step,
            "steps": [self.optimizer.steps, self.optimizer_discriminator.steps],
            "stats_bytes": self.stats_bytes,
        }
        _FILE.write(path, facts, self._tensors())

    def load(self, path: Path) -> None:
        """Take over the state that `save` wrote for the same configuration, seed and inputs.

        Raises:
            InputError: the file is damaged, or of another run.
        """
        facts, tensors = _FILE.read(path)
        _FILE.check_same_run(path, self._run(), facts["run"])
        take_over(path, dict(self._tensors()), tensors)
        self.step, self.stats_bytes = facts["step"], facts["stats_bytes"]
        self.optimizer.steps, self.optimizer_discriminator.steps = facts["steps"]

    def _run(self) -> dict[str, Any]:
        config = asdict(self.config)
        run = {**config.pop("architecture"), **config, "seed": self.seed, **self.sources}
        return json.loads(json.dumps(run))

    def _tensors(self) -> Iterator[tuple[str, Tensor]]:
        """Yield every tensor of the state by name; live, so that `load` can fill them."""
        networks: list[tuple[str, nn.Module]] = [("encoder", self.encoder.network), ("D", self.D)]
        if self.kept is not self.encoder:
            networks.append(("kept", self.kept.network))
        for prefix, network in networks:
            for name, tensor in network.state_dict().items():
                yield f"{prefix}.{name}", tensor
        named = (
            ("optimizer", self.optimizer),
            ("optimizer_discriminator", self.optimizer_discriminator),
            ("pool_real", self.pools[0]),
            ("pool_fake", self.pools[1]),
        )
        for prefix, part in named:
            for name, tensor in part.tensors():
                yield f"{prefix}.{name}", tensor
        yield "sums", self.sums


def copied(encoder: Encoder) -> Encoder:
    """Return a copy for use, which shares the generator."""
    twin = Encoder(encoder.architecture, encoder.latent_avg, encoder.generator)
    twin.network = copy.deepcopy(encoder.network)
    return twin.to(encoder.latent_avg).eval().requires_grad_(False)
