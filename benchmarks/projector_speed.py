"""How fast the projector inverts photographs, beside what its generator and feature network can do at all.

In one run, in turns and on the same images: the generator's and the feature network's own forward and backward pass for
a batch (gradients of the codes only, the network's constant noise), the same with a noise map per photograph and its
gradients, and the projector's whole steps for that batch and for one photograph. Run it on an idle machine:

    OMP_NUM_THREADS=2 python benchmarks/projector_speed.py --generator generator.safetensors

The last line is JSON: photographs a second alone and in a batch, milliseconds a step, and the share of the networks'
own throughput that the projector reaches (median over rounds; asked: 0.85 in a batch of 16).
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch import Tensor
from torch.func import functional_call

from atlas.preset import TrainSettings
from pipeline.features import FeatureFunction, load_perceptual
from pipeline.gan import Generator, load_generator
from pipeline.gan.config import resolve
from pipeline.inversion.noise import noise_buffers
from pipeline.inversion.projection import draw_randomness, photo_stream, projection, w_statistics
from pipeline.inversion.schedule import ProjectorSettings


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--generator", type=Path, help="generator.safetensors; an untrained one when absent")
    parser.add_argument("--config", default="narrow", help="of the untrained one, as for `atlas train`")
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--steps", type=int, default=1000, help="of a whole projection, for photographs a second")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--repeat", type=int, default=5, help="passes or steps in a round")
    parser.add_argument("--device", default="cpu")
    asked = parser.parse_args()
    G = load_generator(asked.generator, asked.device) if asked.generator else untrained(asked.config, asked.size)
    G = G.to(asked.device)
    features = load_perceptual(asked.device)
    runs: dict[str, Callable[[], object]] = {
        "networks": bare_pass(G, features, asked.batch),
        "networks_with_maps": bare_pass(G, features, asked.batch, maps=True),
        "projector": projector_step(G, features, asked.batch),
        "networks_alone": bare_pass(G, features, 1),
        "projector_alone": projector_step(G, features, 1),
    }
    seconds = measure(runs, asked.rounds, asked.repeat, asked.device)
    middle = {name: statistics.median(times) for name, times in seconds.items()}
    print(
        json.dumps(
            {
                "size": G.img_resolution,
                "batch": asked.batch,
                "threads": torch.get_num_threads(),
                "load": round(os.getloadavg()[0], 1),
                "milliseconds_a_step": {name: round(1000 * s, 2) for name, s in middle.items()},
                "photographs_a_second_alone": round(1 / (asked.steps * middle["projector_alone"]), 4),
                "photographs_a_second_in_batch": round(asked.batch / (asked.steps * middle["projector"]), 4),
                "steps_of_a_projection": asked.steps,
                "share_of_networks": share(seconds, "networks", "projector"),
                "share_of_networks_with_maps": share(seconds, "networks_with_maps", "projector"),
                "share_of_networks_alone": share(seconds, "networks_alone", "projector_alone"),
            }
        )
    )


def untrained(config: str, size: int) -> Generator:
    """Return a generator as `atlas train` would begin one: speed does not hang on what the weights are."""
    torch.manual_seed(0)
    G = Generator(resolve(TrainSettings(config=config), size).generator())
    return G.eval().requires_grad_(False)


def bare_pass(G: Generator, features: FeatureFunction, batch: int, *, maps: bool = False) -> Callable[[], object]:
    """Return a forward and backward pass of generator and features: nothing of it can be left out."""
    device = G.mapping.w_avg.device
    w = G.mapping(torch.randn(batch, G.z_dim, device=device)).detach().requires_grad_()
    noise = {n: torch.randn(batch, 1, r, r, device=device) for n, r in noise_buffers(G.synthesis)} if maps else {}
    moving = [w, *(m.requires_grad_() for m in noise.values())]
    wanted = features(torch.zeros(batch, 3, G.img_resolution, G.img_resolution, device=device))

    def run() -> tuple[Tensor, ...]:
        images = functional_call(G.synthesis, noise, (w,), {"noise_mode": "const"})
        return torch.autograd.grad((features(images) - wanted).square().sum(), moving, allow_unused=True)

    return run


def projector_step(G: Generator, features: FeatureFunction, batch: int) -> Callable[[], object]:
    """Return one step of a projection that has no end."""
    settings = ProjectorSettings(steps=100_000)
    statistics_ = w_statistics(G, 1000)
    targets = torch.zeros(batch, 3, G.img_resolution, G.img_resolution, device=G.mapping.w_avg.device)

    def endless() -> Iterator[object]:
        while True:
            randomness = draw_randomness(G, [photo_stream(1, str(i)) for i in range(batch)], settings)
            yield from projection(G, features, targets, statistics_, randomness, settings)

    steps = endless()
    return lambda: next(steps)


def measure(runs: dict[str, Callable[[], object]], rounds: int, repeat: int, device: str) -> dict[str, list[float]]:
    """Return the seconds of one pass of each run in every round; they take turns, so that all meet the same load."""
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for number in range(rounds + 1):
        for name, run in runs.items():
            begun = time.perf_counter()
            for _ in range(repeat):
                run()
            if device != "cpu":
                torch.cuda.synchronize(device)
            if number:  # the first round warms up
                seconds[name].append((time.perf_counter() - begun) / repeat)
    return seconds


def share(seconds: dict[str, list[float]], whole: str, part: str) -> float:
    """Return how much of one run's throughput another reaches: the median over rounds."""
    return round(statistics.median(w / p for w, p in zip(seconds[whole], seconds[part], strict=True)), 3)


if __name__ == "__main__":
    main()
