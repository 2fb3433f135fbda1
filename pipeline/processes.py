"""Training in several processes, started by ``torchrun``, that ends in the weights of one process.

Two rules make it so. Every process draws the chance of the whole batch from the same stream and keeps its share of it;
and what looks across a batch sees what it would see in one process. For StyleGAN2 that is the minibatch standard
deviation: a share consists of whole groups of it. Groups are strided: with G groups, row r of a batch belongs to group
r mod G (`minibatch_std`). Process k of n therefore takes the rows whose r mod G lies in [k·G/n, (k+1)·G/n), and this
holds for every batch whose length is a multiple of G, such as fakes and photographs woven together (`Losses.judge`) or
the shorter batch of the path length. The encoders have no groups, every n-th row is a process's; there batch norms look
across, whose means are taken over all processes (`Processes.mean`), and the pools of styles, which take in the styles
of all (`Processes.gather`). What remains different is the order in which numbers are added up.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import torch
import torch.distributed as dist
from torch import Tensor

from atlas.errors import AtlasError, InputError
from atlas.progress import Progress, silent
from atlas.stage import Log, Stage, Work, forget, run_stage
from pipeline.torchrun import processes_started


@dataclass(frozen=True)
class Share:
    """The rows of a whole batch that one process works on.

    Attributes:
        rank, count: which process of how many.
        groups: of the minibatch standard deviation in the whole batch; a multiple of ``count``.
    """

    rank: int = 0
    count: int = 1
    groups: int = 1

    def of(self, rows: Tensor) -> Tensor:
        """Return this process's rows of [N, …], [N / count, …]; N is a multiple of ``groups``."""
        if self.count == 1 or not len(rows):
            return rows
        width = self.groups // self.count
        columns = rows.unflatten(0, (-1, self.groups))[:, self.rank * width : (self.rank + 1) * width]
        return columns.flatten(0, 1)

    def whole(self, shares: Sequence[Tensor]) -> Tensor:
        """Return the batch whose shares these are, in the order of the processes: the inverse of `of`."""
        width = self.groups // self.count
        return torch.cat([rows.unflatten(0, (-1, width)) for rows in shares], 1).flatten(0, 1)

    def normal(self, shape: Sequence[int], rng: torch.Generator, dtype: torch.dtype) -> Tensor:
        """Draw unit normal numbers for the whole batch, and return those of a share of this shape, [N, …]."""
        whole = torch.randn([shape[0] * self.count, *shape[1:]], generator=rng, device=rng.device)
        return self.of(whole).to(dtype)


class Steps(Protocol):
    """An optimiser: it steps along the gradients of its parameters."""

    parameters: list[Tensor]

    def step(self) -> None:
        """Take a step, and forget the gradients."""


@dataclass(frozen=True)
class Processes:
    """The processes of one training, seen from one of them; by default it is alone.

    Attributes:
        rank: which one this is; 0 writes and speaks.
        count: how many there are.
        device: where this one computes.
    """

    rank: int = 0
    count: int = 1
    device: str = "cpu"

    def share(self, batch: int, group: int, advised: int = 0) -> Share:
        """Return this process's share of a batch whose minibatch groups hold ``group`` images.

        Args:
            batch: images of one iteration.
            group: images of one minibatch group.
            advised: a batch that can be dealt out, for the error; 0 for none.

        Raises:
            InputError: the groups cannot be dealt out evenly.
        """
        groups = batch // min(group, batch)
        if groups % self.count or (self.count > 1 and group % 2):
            advice = f": ask for --batch {advised}" if advised else ""
            raise InputError(
                f"train.batch must be a multiple of {self.count * group} for {self.count} processes "
                f"(whole groups of {group} images for each), got {batch}{advice}"
            )
        return Share(self.rank, self.count, groups)

    @property
    def strided(self) -> Share:
        """Return this process's share of batches without groups, whose length is a multiple of ``count``."""
        return Share(self.rank, self.count, self.count)

    def heard(self, log: Log, progress: Progress) -> tuple[Log, Progress]:
        """Return whom this process tells of its work: process 0 those that are given, the others nobody."""
        return (log, progress) if self.rank == 0 else (_say_nothing, silent)

    def sum(self, tensors: Sequence[Tensor]) -> None:
        """Replace tensors of one type by their sums over all processes, in place, in one exchange."""
        if self.count == 1 or not tensors:
            return
        whole = torch.cat([t.flatten() for t in tensors])
        dist.all_reduce(whole)
        parts = whole.split([t.numel() for t in tensors])
        torch._foreach_copy_(list(tensors), [part.view_as(t) for part, t in zip(parts, tensors, strict=True)])

    def average(self, tensors: Sequence[Tensor]) -> None:
        """Replace tensors of one type by their means over all processes, in place."""
        self.sum(tensors)
        if self.count > 1 and tensors:
            torch._foreach_div_(list(tensors), self.count)

    def mean(self, value: Tensor) -> Tensor:
        """Return the mean of a tensor over all processes; gradients flow back to each process's own."""
        if self.count == 1:
            return value
        averaged: Tensor = _Mean.apply(value, self)
        return averaged

    def gather(self, rows: Tensor) -> Tensor:
        """Return the whole batch, [N · count, …], of which each process gives its `strided` share [N, …]."""
        if self.count == 1:
            return rows
        shares = [torch.empty_like(rows, memory_format=torch.contiguous_format) for _ in range(self.count)]
        dist.all_gather(shares, rows.contiguous())
        return self.strided.whole(shares)

    def step(self, optimizer: Steps) -> None:
        """Take an optimiser's step along the mean of all processes' gradients."""
        self.average([p.grad for p in optimizer.parameters if p.grad is not None])
        optimizer.step()

    def tell(self, number: int = 0) -> int:
        """Return the number that process 0 tells; the others wait for it."""
        if self.count == 1:
            return number
        message = torch.tensor([number], device=self.device)
        dist.broadcast(message, src=0)
        return int(message)

    def check_same(self, tensors: Sequence[Tensor]) -> None:
        """Make sure that all processes hold the same numbers.

        Raises:
            AtlasError: they do not; training them further together would be meaningless.
        """
        if self.count == 1:
            return
        mine = torch.stack([t.detach().double().sum() for t in tensors])
        low, high = mine.clone(), mine.clone()
        dist.all_reduce(low, dist.ReduceOp.MIN)
        dist.all_reduce(high, dist.ReduceOp.MAX)
        if not torch.equal(low, high):
            raise AtlasError(
                "the processes of this training no longer hold the same weights: start them on devices of one kind, "
                "with the same versions of PyTorch"
            )


ALONE, WHOLE = Processes(), Share()  # one process, and its share


class _Mean(torch.autograd.Function):
    """The mean over processes. Its gradient is the mean too: each process's loss depends on all values alike."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, processes: Processes) -> Tensor:
        ctx.processes = processes
        averaged = value.detach().clone()
        processes.average([averaged])
        return averaged

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        averaged = gradient.clone()
        ctx.processes.average([averaged])
        return averaged, None


@contextmanager
def join_processes(device: str) -> Iterator[Processes]:
    """Join the processes that ``torchrun`` started, for as long as the block lasts; without it, be alone.

    Args:
        device: "cpu" (they meet by gloo) or "cuda" (by nccl, each process on a GPU of its own).

    Raises:
        InputError: one GPU was named for several processes.
    """
    count = processes_started()
    if count == 1:
        yield Processes(device=device)
        return
    rank = int(os.environ["RANK"])
    on_gpu = device.startswith("cuda")
    if on_gpu:
        if ":" in device:
            raise InputError(f"--device must be cuda for {count} processes, each takes a GPU of its own, got {device}")
        device = f"cuda:{os.environ['LOCAL_RANK']}"
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if on_gpu else "gloo", rank=rank, world_size=count)
    try:
        yield Processes(rank, count, device)
    finally:
        dist.destroy_process_group()


def run_stage_together(
    stage: Stage,
    work: Work,
    processes: Processes,
    *,
    start_over: bool = False,
    keep: bool = False,
    log: Log = print,
) -> None:
    """Run a training's stage in all its processes: 0 decides and keeps the record, the others work when it does.

    Args:
        stage, work, keep, log: see `atlas.stage.run_stage`.
        processes: those that train together, each calling this function.
        start_over: forget an earlier run.

    Raises:
        InputError: what `run_stage` and the work raise.
    """
    skip, begin, go_on = range(3)
    if processes.rank > 0:
        told = processes.tell()
        if told != skip:
            work(told == go_on)
        return

    def work_together(resume: bool) -> Mapping[str, Any] | None:
        processes.tell(go_on if resume else begin)
        return work(resume)

    if start_over:
        forget(stage)
    if not run_stage(stage, work_together, keep=keep, log=log):
        processes.tell(skip)


def _say_nothing(line: str) -> None:
    """Take a line of news and keep it; process 0 says it too."""
