"""How fast encoders train and invert, narrow and as published, and how many weights they have.

Generators have random weights, which takes as long as trained ones. Run it on an idle machine:

    python benchmarks/encoder_speed.py --threads 2            # narrow, for generators of 32 and 64 px
    python benchmarks/encoder_speed.py --threads 2 --full     # as published, on 256 px: much memory, some minutes
    python benchmarks/encoder_speed.py --device cuda --full   # on a GPU

The last line is JSON: a list of method, backbone, resolution, weights, the file's bytes in half precision,
photographs a second inverted (ReStyle with all its passes), seconds for 3,231 of them, and images a second trained;
seconds of processor for each too, since only these mean something where others use the machine.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from atlas.preset import EncoderSettings
from pipeline.gan import Generator, save_network
from pipeline.gan.architecture import GeneratorArchitecture, channel_widths
from pipeline.inversion.encoders.architecture import EncoderArchitecture
from pipeline.inversion.encoders.encoder import Encoder
from pipeline.inversion.encoders.files import save_encoder
from pipeline.inversion.encoders.training import train_encoder
from pipeline.photos.dataset import Photo, write_dataset

LONDON = 3231  # photographs
TRAINED_STEPS = 6


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--full", action="store_true")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    cases = [("full", 256)] if given.full else [("narrow", 32), ("narrow", 64)]
    found = []
    for backbone, resolution in cases:
        for method in ("e4e", "restyle"):
            found.append(measure(method, backbone, resolution, given.device))
            print(found[-1], flush=True)
    print(json.dumps(found))


def measure(method: str, backbone: str, resolution: int, device: str) -> dict[str, object]:
    """Return the figures of one encoder."""
    latent, base, widest = (64, 2048, 64) if backbone == "narrow" else (512, 16384, 512)
    channels = channel_widths(resolution, base, widest)
    G = Generator(GeneratorArchitecture(latent, 0, latent, resolution, 3, 2, channels)).eval().requires_grad_(False)
    G = G.to(device)
    arch = EncoderArchitecture.made_for(method, backbone, "e4e", G.num_ws, G.w_dim, resolution, 5)
    with tempfile.TemporaryDirectory() as folder:
        found = {"method": method, "backbone": backbone, "resolution": resolution}
        found |= inversion_speed(arch, G, Path(folder))
        found["trained"] = training_speed(method, backbone, G, Path(folder), device)
    return found


def inversion_speed(arch: EncoderArchitecture, G: Generator, folder: Path) -> dict[str, object]:
    """Return how large an encoder is and how fast it inverts."""
    encoder = Encoder(arch, G.mapping.w_avg, G).eval().requires_grad_(False).to(G.mapping.w_avg.device)
    save_encoder(encoder, folder / "half.safetensors", half=True)
    batch, times = (64, 3) if arch.backbone == "narrow" else (2, 1)
    device = G.mapping.w_avg.device
    images = torch.rand(batch, 3, G.img_resolution, G.img_resolution, device=device) * 2 - 1
    speed = per_second(lambda: encoder(images), batch, times, device)
    return {
        "weights": sum(p.numel() for p in encoder.network.parameters()),
        "half_bytes": (folder / "half.safetensors").stat().st_size,
        "inverted": speed,
        "seconds_for_london": round(LONDON / speed["per_second"], 1),
    }


def per_second(work: Callable[[], object], units: int, times: int, device: torch.device) -> dict[str, float]:
    """Return units of work a second, and seconds of processor a unit; the first time does not count."""
    work()
    finish(device)
    wall, processor = time.perf_counter(), time.process_time()
    for _ in range(times):
        work()
    finish(device)
    wall, processor = time.perf_counter() - wall, time.process_time() - processor
    return {"per_second": round(units * times / wall, 3), "processor_seconds": round(processor / units / times, 5)}


def finish(device: torch.device) -> None:
    """Wait for what a GPU was told to do."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def training_speed(method: str, backbone: str, G: Generator, folder: Path, device: str) -> dict[str, float]:
    """Return images a second of whole training steps: a longer training less a shorter one, half generated images."""
    save_network(G, folder / "generator.safetensors")
    photo = Photo("", "drawn", "0", 51.5, 0.0, "", "A", (1, 1, 1), (0.5, 0.5, 0.5), "block 0")
    image = np.random.default_rng(1).integers(0, 256, (G.img_resolution, G.img_resolution, 3), dtype=np.uint8)
    write_dataset(folder / "dataset.zip", [(photo, image)] * 4, {"licence": ""})
    batch = 16 if backbone == "narrow" else 2
    took = []
    for steps in (1, 1 + (TRAINED_STEPS if backbone == "narrow" else 1)):
        settings = EncoderSettings(
            backbone=backbone, steps=steps, batch=batch, generated=0.5, similarity="off", checkpoint=10**6
        )
        wall, processor = time.perf_counter(), time.process_time()
        out = folder / f"{steps}.safetensors"
        files = (folder / "generator.safetensors", folder / "dataset.zip")
        train_encoder(method, *files, settings, 1, out, device=device, log=lambda line: None)
        took.append((steps, time.perf_counter() - wall, time.process_time() - processor))
        for file in (out.with_suffix(".training") / "state.safetensors", out):
            file.unlink()
    (short, wall0, cpu0), (long, wall1, cpu1) = took
    units = (long - short) * batch
    return {
        "per_second": round(units / (wall1 - wall0), 3),
        "processor_seconds": round((cpu1 - cpu0) / units, 5),
    }


if __name__ == "__main__":
    main()
