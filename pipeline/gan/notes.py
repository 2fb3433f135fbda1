"""What one iteration of training notes, before the processes bring it together."""

from __future__ import annotations

import torch
from torch import Tensor

from pipeline.gan.state import STATISTICS, TrainingState
from pipeline.processes import Processes


class Notes:
    """The losses and signs of one iteration on one process.

    Attributes:
        sums: [2, len(STATISTICS)] float64: means over the share, and how many.
        signs: [2] float64: sum and number of the signs of logits on photographs.
    """

    def __init__(self, device: torch.device) -> None:
        self.sums = torch.zeros(2, len(STATISTICS), dtype=torch.float64, device=device)
        self.signs = torch.zeros(2, dtype=torch.float64, device=device)

    def loss(self, name: str, values: Tensor) -> None:
        """Note a loss, one number per sample."""
        column = STATISTICS.index(name)
        self.sums[0, column] += values.detach().double().mean()
        self.sums[1, column] += 1

    def logits(self, logits: Tensor) -> None:
        """Note the discriminator's logits on photographs."""
        self.signs[0] += logits.detach().sign().sum()
        self.signs[1] += logits.numel()

    def join(self, run: TrainingState, processes: Processes) -> None:
        """Add what all processes noted to the state, and give all the same running mean of w.

        w_avg moves by the mean of a batch, and each process saw its share only. All moves are linear, so the mean of
        what they led to is what the whole batch would have led to.
        """
        w_avg = run.G.mapping.w_avg.double()
        processes.sum([self.sums, self.signs, w_avg])
        self.sums /= processes.count
        run.sums += self.sums
        run.signs += self.signs
        if processes.count > 1:
            run.G.mapping.w_avg.copy_(w_avg / processes.count)
