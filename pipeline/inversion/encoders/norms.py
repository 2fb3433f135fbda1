"""Batch normalisation that sees the whole batch, of which each process of a training holds a share."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pipeline.processes import ALONE, Processes


class BatchNorm(nn.BatchNorm2d):
    """`torch.nn.BatchNorm2d`, and in training with several processes its batch is theirs together.

    Mean and variance are then taken over all processes, by one exchange each, and gradients flow back through both as
    they would in one process; the running statistics are the same everywhere. PyTorch's own ``SyncBatchNorm`` runs on
    GPUs only. Alone, or in evaluation, this is PyTorch's function.

    Attributes:
        processes: whose batch is normalised together; each must hold equally many images.
    """

    processes: Processes = ALONE

    def forward(self, x: Tensor) -> Tensor:
        """Normalise the channels of [N, C, H, W]."""
        if self.processes.count == 1 or not self.training:
            return super().forward(x)
        mean = self.processes.mean(x.mean((0, 2, 3)))
        centred = x - mean[:, None, None]
        variance = self.processes.mean(centred.square().mean((0, 2, 3)))
        self._run(mean.detach(), variance.detach(), self.processes.count * x.numel() // x.shape[1])
        gain = self.weight * (variance + self.eps).rsqrt()
        return centred * gain[:, None, None] + self.bias[:, None, None]

    @torch.no_grad()
    def _run(self, mean: Tensor, variance: Tensor, count: int) -> None:
        """Move the running statistics; ``count`` numbers of a channel were seen, so the variance's bias is known."""
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        assert self.momentum is not None
        self.num_batches_tracked += 1
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(variance * (count / (count - 1)), self.momentum)


def normalise_together(network: nn.Module, processes: Processes) -> None:
    """Let all batch norms of a network see the batch of all processes."""
    for module in network.modules():
        if isinstance(module, BatchNorm):
            module.processes = processes
