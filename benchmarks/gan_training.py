"""Training steps for `gan_speed.py`, ours and the plain twin's, each in a process of its own.

    python benchmarks/gan_training.py ours cpu 2             # a line on standard input: 16 steps, and their seconds
    python benchmarks/gan_training.py twin cpu 2 --peak      # print the peak memory of training, alone

A process of its own, because ours lets the C library keep freed memory (`pipeline.gan.steady`), which would help
whatever else ran beside it.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import plain_twin
import torch
import torch.nn.functional as F
from torch import Tensor

from pipeline.gan import activation, resample, winograd
from pipeline.gan.architecture import DiscriminatorArchitecture, GeneratorArchitecture, channel_widths
from pipeline.gan.checkpoint import set_precision
from pipeline.gan.loss import Losses
from pipeline.gan.native import operators
from pipeline.gan.networks import Discriminator, Generator
from pipeline.gan.optimizer import Adam
from pipeline.gan.steady import steady

BATCH, R1_INTERVAL = 16, 16
PARTS = {"winograd": (winograd,), "resampling": (resample,), "native operators": (winograd, resample, activation)}
STEADY = "kept memory"  # the part that is no operator


def main() -> None:
    """Take steps when told, or measure memory."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("who", choices=("ours", "twin"))
    parser.add_argument("device")
    parser.add_argument("threads", type=int)
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--without", choices=(*PARTS, STEADY), help="leave one of our parts out")
    parser.add_argument("--peak", action="store_true")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    for module in PARTS.get(given.without, ()):
        module.operators = lambda device: None
    with nullcontext() if given.who == "twin" or given.without == STEADY else steady():
        if given.peak:
            print(peak_memory(given.who, given.device))
            return
        step = training_step(given.who, given.device, given.precision)
        for _ in sys.stdin:
            begun = time.perf_counter()
            for number in range(R1_INTERVAL):
                step(number)
            if torch.device(given.device).type == "cuda":
                torch.cuda.synchronize(given.device)
            print(time.perf_counter() - begun, flush=True)


class Trainer:
    """A process that trains when called: 16 steps, R1 in one of them."""

    def __init__(self, *arguments: str) -> None:
        command = [sys.executable, __file__, *arguments]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __call__(self) -> float:
        """Take the steps and return their seconds."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        print("go", file=self.process.stdin, flush=True)
        return float(self.process.stdout.readline())

    def close(self) -> None:
        """Let the process end."""
        self.process.communicate()


def make_generator(resolution: int, base: int, widest: int, latent: int, device: str) -> Generator:
    """Return a generator with random weights, noise switched on."""
    torch.manual_seed(0)
    widths = channel_widths(resolution, base, widest)
    G = Generator(GeneratorArchitecture(latent, 0, latent, resolution, 3, 2, widths))
    with torch.no_grad():
        for name, parameter in G.named_parameters():
            if name.endswith("noise_strength"):
                parameter.fill_(0.1)
    return G.to(device)


def make_discriminator(resolution: int, base: int, widest: int, device: str) -> Discriminator:
    """Return a discriminator with random weights."""
    torch.manual_seed(1)
    D = Discriminator(DiscriminatorArchitecture(0, resolution, 3, channel_widths(resolution, base, widest)))
    return D.to(device)


def training_step(who: str, device: str, precision: str = "fp32") -> Callable[[int], None]:
    """Return a function that makes one training step, given its number."""
    G, D = make_generator(64, 2048, 64, 64, device), make_discriminator(64, 2048, 64, device)
    rng = torch.Generator(device).manual_seed(2)
    real = torch.randn(BATCH, 3, 64, 64, generator=rng, device=device)
    if who == "twin":
        return twin_step(G, D, real)
    for network in (G, D):
        set_precision(network, precision, device)
    losses = Losses(G, D, augment=lambda images: images, rng=rng, gamma=1.0)
    adam_g, adam_d = Adam(G, 0.002, 0.99, 1e-8), Adam(D, 0.002, 0.99, 1e-8)

    def step(number: int) -> None:
        D.requires_grad_(False)
        losses.generator(torch.randn(BATCH, 64, generator=rng, device=device)).mean().backward()
        adam_g.step()
        D.requires_grad_(True)
        fake, true, _ = losses.discriminator(torch.randn(BATCH, 64, generator=rng, device=device), real)
        (fake.mean() + true.mean()).backward()
        adam_d.step()
        if number % R1_INTERVAL == 0:
            penalty, _ = losses.r1(real)
            (penalty.mean() * R1_INTERVAL).backward()
            adam_d.step()

    return step


def twin_step(G: Generator, D: Discriminator, real: Tensor) -> Callable[[int], None]:
    """Return the twin's step: activations scaled rather than kernels grouped, as the official code trains."""
    adam_g, adam_d = (torch.optim.Adam(n.parameters(), 0.002, betas=(0.0, 0.99), eps=1e-8) for n in (G, D))

    def render() -> Tensor:
        ws = plain_twin.mapping(G, torch.randn(BATCH, 64, device=real.device))
        return plain_twin.synthesis(G, ws, "random", grouped=False)

    def step(number: int) -> None:
        D.requires_grad_(False)
        F.softplus(-plain_twin.discriminator(D, render())).mean().backward()
        update(adam_g)
        D.requires_grad_(True)
        with torch.no_grad():
            fakes = render()
        F.softplus(plain_twin.discriminator(D, fakes)).mean().backward()
        F.softplus(-plain_twin.discriminator(D, real)).mean().backward()
        update(adam_d)
        if number % R1_INTERVAL == 0:
            images = real.detach().requires_grad_()
            (slope,) = torch.autograd.grad(plain_twin.discriminator(D, images).sum(), images, create_graph=True)
            (slope.square().sum([1, 2, 3]).mean() * 0.5 * R1_INTERVAL).backward()
            update(adam_d)

    def update(adam: torch.optim.Optimizer) -> None:
        adam.step()
        adam.zero_grad(set_to_none=True)

    return step


def peak_memory(who: str, device: str) -> int:
    """Return how many MiB training needs beyond what was there before its first step."""
    if torch.device(device).type == "cuda":
        step = training_step(who, device)
        torch.cuda.reset_peak_memory_stats(device)
        step(0)
        return torch.cuda.max_memory_allocated(device) >> 20
    operators(torch.device(device))
    step = training_step(who, device)
    before = high_water()
    for number in range(3):
        step(number)
    return (high_water() - before) >> 10


def high_water() -> int:
    """Return the most memory that this process has had so far, in KiB; what rusage says is its parent's at first."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1])


if __name__ == "__main__":
    main()
