"""How fast photographs are imported, in one process and on every core, and how much memory that takes.

Draws photographs of 1024 px, imports them to 512 px by one process and then by one for each core, and compares every
pixel with Pillow's own Lanczos of the fully decoded file. Run it on an idle machine:

    python benchmarks/import_speed.py --photographs 2000

The last line is JSON: photographs, cores, images a second of both, how many times faster, seconds of processor of
both (where others use the machine, equal ones say that the work is shared without loss), peak memory in MiB of this
process and of its largest worker after a quarter of the work and after all of it, and how many pixels differ.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import os
import resource
import tempfile
import time
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image

from pipeline.photos.dataset import open_dataset
from pipeline.photos.importing import import_photographs
from pipeline.photos.pool import cores

SIZE, TARGET, DISTINCT = 1024, 512, 40


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photographs", type=int, default=2000)
    count = parser.parse_args().photographs
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = make_inputs(folder, count)
        quarter = folder / "quarter.csv"
        lines = (folder / "photos.csv").read_text().splitlines()
        quarter.write_text("\n".join(lines[: 1 + count // 4]) + "\n")
        run(folder, quarter, None)
        memory = [peak()]
        parallel, parallel_cpu = run(folder, folder / "photos.csv", None)
        memory.append(peak())
        serial, serial_cpu = run(folder, folder / "photos.csv", 1)
        differing = compare(folder / "out.zip", files)
    print(
        json.dumps(
            {
                "photographs": count,
                "cores": cores(),
                "load": round(os.getloadavg()[0], 1),
                "serial_images_a_second": round(count / serial, 1),
                "parallel_images_a_second": round(count / parallel, 1),
                "times": round(serial / parallel, 2),
                "serial_cpu_seconds": round(serial_cpu, 1),
                "parallel_cpu_seconds": round(parallel_cpu, 1),
                "peak_mib_quarter": memory[0],
                "peak_mib_all": memory[1],
                "differing_pixels": differing,
            }
        )
    )


def make_inputs(folder: Path, count: int) -> list[bytes]:
    """Write a zip of photographs (40 different ones, over and over), their table, two areas and their ranks."""
    files = [photograph(seed) for seed in range(DISTINCT)]
    with zipfile.ZipFile(folder / "photos.zip", "w") as archive:
        for i in range(count):
            archive.writestr(f"{i:06d}.jpg", files[i % DISTINCT])
    with (folder / "photos.csv").open("w", newline="") as stream:
        rows = csv.writer(stream)
        rows.writerow(["file", "lat", "lon"])
        rows.writerows([f"{i:06d}.jpg", 0.5, 0.25 + 0.5 * (i % 2)] for i in range(count))
    features = []
    for code, west in (("E01000001", 0.0), ("E01000002", 0.5)):
        ring = [[west, 0], [west + 0.5, 0], [west + 0.5, 1], [west, 1], [west, 0]]
        geometry = {"type": "Polygon", "coordinates": [ring]}
        features.append({"type": "Feature", "properties": {"LSOA11CD": code}, "geometry": geometry})
    (folder / "areas.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    headings = "LSOA code (2011),Income Rank,Education, Skills and Training Rank,Health Deprivation and Disability Rank"
    cells = headings.replace("Education, Skills", '"Education, Skills').replace("Training Rank", 'Training Rank"')
    (folder / "ranks.csv").write_text(f"{cells}\nE01000001,1,1,1\nE01000002,2,2,2\n")
    return files


def photograph(seed: int) -> bytes:
    """Return a JPEG with about the detail, and so the bytes, of a street photograph."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (24, 24, 3), dtype=np.uint8)).resize((SIZE, SIZE), Image.BICUBIC)
    pixels = np.asarray(coarse).astype(np.int16) + rng.integers(-20, 21, (SIZE, SIZE, 1))
    stream = io.BytesIO()
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(stream, "JPEG", quality=85)
    return stream.getvalue()


def run(folder: Path, table: Path, workers: int | None) -> tuple[float, float]:
    """Import and return the seconds it took by the wall's clock and by all processors'."""
    begun, before = time.perf_counter(), processor_seconds()
    import_photographs(
        folder / "photos.zip",
        table,
        folder / "areas.geojson",
        folder / "ranks.csv",
        TARGET,
        folder / "out.zip",
        workers=workers,
    )
    return time.perf_counter() - begun, processor_seconds() - before


def processor_seconds() -> float:
    """Return the seconds that this process and its ended workers have had."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def peak() -> list[int]:
    """Return the peak memory in MiB of this process and of the largest of its ended workers."""
    return [resource.getrusage(who).ru_maxrss // 1024 for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]


def compare(path: Path, files: list[bytes]) -> int:
    """Return how many pixel values differ from Pillow's Lanczos at full decoding, over every photograph."""
    wanted = []
    for data in files:
        with Image.open(io.BytesIO(data)) as image:
            wanted.append(np.asarray(image.convert("RGB").resize((TARGET, TARGET), Image.Resampling.LANCZOS)))
    dataset = open_dataset(path)
    return sum(
        int(np.count_nonzero(dataset.images([i])[0] != wanted[i % len(files)])) for i in range(len(dataset.files))
    )


if __name__ == "__main__":
    main()
