"""How fast images are made and networks trained, against a plain twin and against the machine's own convolution.

    python benchmarks/gan_speed.py                     # all of it, some minutes on two cores
    python benchmarks/gan_speed.py generator --rounds 9
    python benchmarks/gan_speed.py --device cuda --json result.json

Sections: "generator" renders (128 px, channel base 4096, at most 128 channels, z = w = 128, batch 16), "training" makes
steps (64 px, base 2048, at most 64 channels, batch 16: generator, discriminator, R1 every 16th, optimisers; no
augmentation, no averaging), "earned" says how many times as fast these are with a part of ours as without it,
"operators" times single operators, "memory" the peak of training.

The twin (`plain_twin.py`) is the same network written with the operators as they are usually written, and is run in
turn with ours, so that the ratio holds on a machine that others use too; the median of the ratios is what to quote. The
limit is the throughput of PyTorch's convolution, the best of some large layers measured in the same run; what is held
against it counts the multiplications and additions of the definition (a transposed convolution where there is
upsampling), so an algorithm that needs fewer can go beyond 100 %.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gan_training
import plain_twin
import torch
import torch.nn.functional as F
from gan_training import BATCH, PARTS, R1_INTERVAL, STEADY, Trainer, make_generator
from torch import Tensor

from pipeline.gan import activation, ops, resample, winograd
from pipeline.gan.checkpoint import bf16_is_native, set_precision
from pipeline.gan.native import operators
from pipeline.gan.networks import Generator

SECTIONS = ("generator", "training", "earned", "operators", "memory")
LIMIT_LAYERS = ((64, 128, 64), (128, 128, 32), (256, 256, 32), (512, 512, 16))  # channels in, out, side


def main() -> None:
    """Measure what was asked for and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sections", nargs="*", metavar="SECTION", help=f"of {', '.join(SECTIONS)}; all by default")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="of the processor; all by default")
    parser.add_argument("--rounds", type=int, default=5, help="of ours and the twin in turn")
    parser.add_argument("--json", type=Path, help="write the numbers here too")
    given = parser.parse_args()
    unknown = set(given.sections) - set(SECTIONS)
    if unknown:
        parser.error(f"no such section: {', '.join(sorted(unknown))}")
    torch.set_num_threads(given.threads)
    wanted = given.sections or SECTIONS
    result: dict[str, Any] = {"machine": machine(given.device)}
    result["limit_gflops"] = round(convolution_limit(given.device) / 1e9, 1)
    if "generator" in wanted:
        result["generator"] = generator_speed(given.device, given.rounds, result["limit_gflops"])
    if "training" in wanted:
        result["training"] = training_speed(given.device, given.threads, given.rounds)
    if "earned" in wanted:
        result["earned"] = earned(given.device, given.threads, given.rounds)
    if "operators" in wanted:
        result["operators"] = operator_times(given.device, given.rounds)
    if "memory" in wanted:
        result["memory"] = {who: memory_of(who, given) for who in ("ours", "twin")}
    show(result)
    if given.json:
        given.json.write_text(json.dumps(result, indent=2) + "\n")


def machine(device: str) -> dict[str, Any]:
    """Say what is measured on."""
    native = operators(torch.device(device)) is not None
    return {
        "processor": processor(),
        "device": torch.cuda.get_device_name(device) if torch.device(device).type == "cuda" else "cpu",
        "threads": torch.get_num_threads(),
        "load": round(os.getloadavg()[0], 1),
        "torch": torch.__version__,
        "native_operators": native,
        "bf16_native": bf16_is_native(device),
    }


def processor() -> str:
    """Return the processor's name."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")


def finished(device: str) -> float:
    """Return the time when all work so far is done."""
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def in_turn(works: dict[str, Callable[[], object]], rounds: int, device: str) -> dict[str, list[float]]:
    """Return the seconds of each work in each round, after one round that is not counted."""
    seconds: dict[str, list[float]] = {name: [] for name in works}
    for counted in [False] + [True] * rounds:
        for name, work in works.items():
            begun = finished(device)
            work()
            if counted:
                seconds[name].append(finished(device) - begun)
    return seconds


def convolution_limit(device: str) -> float:
    """Return the best FLOP/s of PyTorch's own convolution over some large layers and both memory layouts."""
    best = 0.0
    for inner, out, side in LIMIT_LAYERS:
        for layout in (torch.contiguous_format, torch.channels_last):
            x = torch.randn(BATCH, inner, side, side, device=device).contiguous(memory_format=layout)
            w = torch.randn(out, inner, 3, 3, device=device).contiguous(memory_format=layout)
            with torch.no_grad():
                seconds = in_turn({"conv": lambda x=x, w=w: F.conv2d(x, w, padding=1)}, 4, device)["conv"]
            best = max(best, 2 * 9 * inner * out * side**2 * BATCH / min(seconds))
    return best


def least_operations(G: Generator) -> int:
    """Return the multiplications and additions of one image by definition: convolutions and fully connected layers."""
    arch, total = G.architecture, 0
    for index, width in enumerate(arch.channels):
        pixels = (4 * 2**index) ** 2
        total += pixels * 9 * width * width  # conv1
        if index:  # conv0: transposed, so that each pixel of its input meets each weight once
            total += pixels // 4 * 9 * arch.channels[index - 1] * width
        total += pixels * width * arch.img_channels  # ToRGB
    total += sum(p.numel() for name, p in G.named_parameters() if name.endswith("weight") and p.ndim == 2)
    return 2 * total


@torch.no_grad()
def generator_speed(device: str, rounds: int, limit: float) -> dict[str, Any]:
    """Time rendering, ours against the twin's."""
    G = make_generator(128, 4096, 128, 128, device).eval().requires_grad_(False)
    z = torch.randn(BATCH, G.z_dim, device=device)
    works: dict[str, Callable[[], object]] = {
        "ours": lambda: G.synthesis(G.mapping(z), noise_mode="const"),
        "twin": lambda: plain_twin.synthesis(G, plain_twin.mapping(G, z)),
    }
    mine, plain = works["ours"](), works["twin"]()
    assert isinstance(mine, Tensor)
    assert isinstance(plain, Tensor)
    if bf16_is_native(device):
        reduced = make_generator(128, 4096, 128, 128, device).eval().requires_grad_(False)
        set_precision(reduced, "bf16", device)
        works["ours_bf16"] = lambda: reduced.synthesis(reduced.mapping(z), noise_mode="const")
    result = rates(in_turn(works, rounds, device), BATCH)
    least = least_operations(G)
    result |= {
        "difference_from_twin": float((mine - plain).abs().max() / plain.abs().max()),
        "least_gflop_per_image": round(least / 1e9, 3),
        "share_of_limit": round(result["ours_images_per_second"] * least / 1e9 / limit, 3),
    }
    if "ours_bf16" in works:
        result["bf16_psnr_db"] = round(psnr(works["ours_bf16"](), mine), 1)  # type: ignore[arg-type]
    return result


def psnr(a: Tensor, b: Tensor) -> float:
    """Return the peak signal to noise ratio of images whose values span 2."""
    return float(10 * torch.log10(4 / (a - b).square().mean()))


def rates(seconds: dict[str, list[float]], images: int) -> dict[str, Any]:
    """Turn seconds into images a second (medians), and into ours against the twin's, round by round."""
    result: dict[str, Any] = {
        f"{name}_images_per_second": round(images / statistics.median(s), 1) for name, s in seconds.items()
    }
    for name in seconds:
        if name != "twin":
            ratios = [b / a for a, b in zip(seconds[name], seconds["twin"], strict=True)]
            result[f"{name}_times_the_twin"] = spread(ratios)
    return result


def spread(ratios: list[float]) -> dict[str, float]:
    """Return median and extremes of some ratios."""
    return {
        "median": round(statistics.median(ratios), 2),
        "least": round(min(ratios), 2),
        "most": round(max(ratios), 2),
    }


def training_speed(device: str, threads: int, rounds: int) -> dict[str, Any]:
    """Time 16 training steps, R1 in one of them, ours against the twin's."""
    whose = {"ours": ["ours"], "twin": ["twin"]}
    if bf16_is_native(device):
        whose["ours_bf16"] = ["ours", "--precision", "bf16"]
    return rates(trained(whose, device, threads, rounds), BATCH * R1_INTERVAL)


def earned(device: str, threads: int, rounds: int) -> dict[str, Any]:
    """Return how many times as fast training is with each part as without it, all others on: medians and extremes."""
    whose = {"all": ["ours"]} | {part: ["ours", "--without", part] for part in (*PARTS, STEADY)}
    seconds = trained(whose, device, threads, rounds)
    return {
        part: spread([without / all_ for without, all_ in zip(times, seconds["all"], strict=True)])
        for part, times in seconds.items()
        if part != "all"
    }


def trained(whose: dict[str, list[str]], device: str, threads: int, rounds: int) -> dict[str, list[float]]:
    """Return the seconds of 16 steps in each round, each in a process of its own with these arguments."""
    trainers = {name: Trainer(who, device, str(threads), *more) for name, (who, *more) in whose.items()}
    try:
        return in_turn(trainers, rounds, device)
    finally:
        for trainer in trainers.values():
            trainer.close()


def operator_times(device: str, rounds: int) -> dict[str, Any]:
    """Time single operators, forward and backward, natively and plainly, in milliseconds (medians)."""
    result = {}
    for inner, out, side, up, down in (
        (128, 128, 16, 1, 1),
        (64, 64, 64, 1, 1),
        (32, 32, 128, 1, 1),
        (64, 32, 64, 2, 1),
        (32, 64, 64, 1, 2),
    ):
        x = torch.randn(BATCH, inner, side, side, device=device).contiguous(memory_format=torch.channels_last)
        w = torch.randn(out, inner, 3, 3, device=device)
        f = ops.setup_filter([1, 3, 3, 1]).to(device)
        name = f"conv {inner} to {out} at {side} px" + (", up" if up > 1 else ", down" if down > 1 else "")
        result[name] = compared(
            x, w, lambda x, w, f=f, up=up, down=down: ops.conv2d_resample(x, w, f, up, down, 1), device, rounds
        )
    x = torch.randn(BATCH, 32, 64, 64, device=device).contiguous(memory_format=torch.channels_last)
    result["filter and halve, 32 at 64 px"] = compared(
        x, x.new_zeros([]), lambda x, _: ops.downsample2d(x, f), device, rounds
    )
    x = torch.randn(BATCH, 64, 64, 64, device=device).contiguous(memory_format=torch.channels_last)
    styles = torch.randn(BATCH, 64, device=device)
    w, b = torch.randn(64, 64, 3, 3, device=device), torch.randn(64, device=device)
    noise = torch.randn(64, 64, device=device)
    result["a layer of the generator, 64 at 64 px"] = compared(
        x, w, lambda x, w: ops.modulated_lrelu(x, w.float(), styles, noise, b, 1, f), device, rounds
    )
    result["a layer of the discriminator, 64 at 64 px"] = compared(
        x, w, lambda x, w: ops.conv2d_lrelu(x, w, b, padding=1), device, rounds
    )
    return result


def compared(
    x: Tensor, w: Tensor, work: Callable[[Tensor, Tensor], Tensor], device: str, rounds: int
) -> dict[str, Any]:
    """Time one operator with native operators and without, in bfloat16 too where the device has it."""
    times = _compared(x, w, work, device, rounds)
    if bf16_is_native(device):
        reduced = _compared(x.detach().bfloat16(), w.detach().bfloat16(), work, device, rounds)
        times |= {f"bf16_{name}": milliseconds for name, milliseconds in reduced.items()}
    return times


def _compared(
    x: Tensor, w: Tensor, work: Callable[[Tensor, Tensor], Tensor], device: str, rounds: int
) -> dict[str, float]:
    x, w = x.requires_grad_(), w.requires_grad_()

    def both() -> None:
        work(x, w).square().mean().backward()

    def plainly(what: Callable[[], object]) -> None:
        with without_native():
            what()

    def forward() -> None:
        with torch.no_grad():
            work(x, w)

    works = {
        "native_forward": forward,
        "plain_forward": lambda: plainly(forward),
        "native_both": both,
        "plain_both": lambda: plainly(both),
    }
    return {name: round(1e3 * statistics.median(s), 2) for name, s in in_turn(works, rounds, device).items()}


class without_native:  # noqa: N801
    """Within it, the plain operators are used."""

    def __enter__(self) -> None:
        self.saved = winograd.operators
        for module in (activation, resample, winograd):
            module.operators = lambda device: None

    def __exit__(self, *problem: object) -> None:
        for module in (activation, resample, winograd):
            module.operators = self.saved


def memory_of(who: str, given: argparse.Namespace) -> int:
    """Return `peak_memory` of a process of its own."""
    command = [sys.executable, gan_training.__file__, who, given.device, str(given.threads), "--peak"]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def show(result: dict[str, Any], indent: str = "") -> None:
    """Print nested numbers as a table."""
    for name, value in result.items():
        label = indent + name.replace("_", " ")
        if isinstance(value, dict) and any(isinstance(v, dict) for v in value.values()):
            print(label)
            show(value, indent + "  ")
        elif isinstance(value, dict):
            print(f"{label:<44}" + "  ".join(f"{k.replace('_', ' ')} {v}" for k, v in value.items()))
        else:
            print(f"{label:<44}{value}")


if __name__ == "__main__":
    main()
