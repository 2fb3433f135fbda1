"""Adam for many rows against PyTorch's own for each."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.inversion.adam import RowAdam


@settings(max_examples=20)
@given(st.integers(1, 4), st.integers(1, 12), st.integers(0, 10**6))
def test_each_row_moves_as_by_an_optimiser_of_its_own(rows, steps, seed):
    rng = torch.Generator().manual_seed(seed)
    shapes = [(rows, 1, 3), (rows, 2, 4, 4)]
    ours = [torch.randn(shape, generator=rng, dtype=torch.float64) for shape in shapes]
    theirs = [[p[[i]].clone().requires_grad_() for p in ours] for i in range(rows)]
    optimisers = [torch.optim.Adam(parameters, betas=(0.9, 0.999), eps=1e-8) for parameters in theirs]
    adam = RowAdam(ours)
    for _ in range(steps):
        gradients = [torch.randn(shape, generator=rng, dtype=torch.float64) for shape in shapes]
        rates = torch.rand(rows, generator=rng, dtype=torch.float64)
        adam.step(ours, gradients, rates)
        for i, (parameters, optimiser) in enumerate(zip(theirs, optimisers, strict=True)):
            optimiser.param_groups[0]["lr"] = float(rates[i])
            for p, g in zip(parameters, gradients, strict=True):
                p.grad = g[[i]]
            optimiser.step()
    for at, parameter in enumerate(ours):
        torch.testing.assert_close(parameter, torch.cat([t[at] for t in theirs]).detach(), rtol=1e-12, atol=1e-12)


def test_rows_may_leave():
    gradients = [torch.ones(3, 2), torch.full((3, 2), 0.5)]
    every, some = torch.zeros(3, 2), torch.zeros(3, 2)
    whole, left = RowAdam([every]), RowAdam([some])
    for optimiser, p in ((whole, every), (left, some)):
        optimiser.step([p], gradients[:1], torch.full((3,), 0.1))
    whole.step([every], gradients[1:], torch.full((3,), 0.1))
    some = some[[0, 2]]
    left.keep(torch.tensor([0, 2]))
    left.step([some], [gradients[1][[0, 2]]], torch.full((2,), 0.1))
    torch.testing.assert_close(some, every[[0, 2]])
