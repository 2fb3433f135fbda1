"""How long Table 1 takes: cells by both protocols, with bootstraps and permutations, on synthetic latent codes.

Codes are drawn with a spectrum as W has it and a planted, weak difference between the classes, on as many photographs
and areas as the paper had. Run it on an idle machine; one cell first:

    OMP_NUM_THREADS=2 python benchmarks/boundaries_speed.py --dim 512 --cells 1
    OMP_NUM_THREADS=2 python benchmarks/boundaries_speed.py --dim 7168 --cells 9

The last line is JSON: photographs, dim, seconds of each cell, their sum, what nine would take, seconds of
processor (all threads, the making of codes included), and peak memory in MiB.
"""

from __future__ import annotations

import argparse
import json
import resource
import time

import numpy as np

from atlas.grid import AXES
from atlas.preset import BoundarySettings
from pipeline.boundaries.evaluation import evaluate
from pipeline.boundaries.fitting import axis_seed, case_of
from pipeline.boundaries.sample import Labelled

PER_AREA, METRES = 4, 30_000
EFFECT = 1.5


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photographs", type=int, default=14_564)
    parser.add_argument("--dim", type=int, default=512, help="512 for W, 7168 for W+ of 14 layers.")
    parser.add_argument("--cells", type=int, default=9, help="Axes by methods; each method has its own codes.")
    parser.add_argument("--permutations", type=int, default=200)
    parser.add_argument("--bootstraps", type=int, default=1000)
    asked = parser.parse_args()
    settings = BoundarySettings(permutations=asked.permutations, bootstraps=asked.bootstraps)
    seconds: list[float] = []
    started = time.process_time()
    labelled = None
    for cell in range(asked.cells):
        axis = cell % len(AXES)
        if axis == 0:
            labelled = None  # let go of the last method's codes first
            labelled = synthetic(asked.photographs, asked.dim, seed=cell)
        assert labelled is not None
        begun = time.perf_counter()
        _, case = case_of(labelled, axis, settings, 1)
        found = evaluate(case, settings, axis_seed(1, axis))
        seconds.append(round(time.perf_counter() - begun, 1))
        for row in found["rows"]:
            print(cell, row["protocol"], f"F1 {row['f1']:.3f} AUC {row['auc']:.3f} C {row['c']}", flush=True)
        print(cell, seconds[-1], "s", flush=True)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    mean = sum(seconds) / len(seconds)
    print(
        json.dumps(
            {
                "photographs": asked.photographs,
                "dim": asked.dim,
                "seconds": seconds,
                "sum": round(sum(seconds), 1),
                "nine": round(9 * mean, 1),
                "processor_seconds": round(time.process_time() - started, 1),
                "peak_mib": peak,
            }
        )
    )


def synthetic(photographs: int, dim: int, seed: int) -> Labelled:
    """Return codes in which each axis has its own direction, among many stronger ones."""
    rng = np.random.default_rng(seed)
    areas = np.arange(photographs) // PER_AREA
    place = rng.random((int(areas[-1]) + 1, 3))
    centres = rng.uniform(0, METRES, (len(place), 2))
    places = centres[areas] + rng.normal(0, 100, (photographs, 2))
    _, blocks = np.unique(np.floor(centres / 1000) @ [1000, 1], return_inverse=True)
    spread = np.arange(1, dim + 1) ** -0.5
    codes = rng.standard_normal((photographs, dim), dtype=np.float32) * spread.astype(np.float32)
    codes[:, 10:13] += (EFFECT * (place[areas] - 0.5) * spread[10:13]).astype(np.float32)
    # Turned, so that no single dimension holds what is to be found.
    turn = rng.standard_normal((dim, 64), dtype=np.float32) / np.float32(dim**0.5)
    codes += (codes @ turn) @ turn.T
    return Labelled(
        codes, "w" if dim <= 512 else "w+", place[areas], areas, blocks[areas], places, np.arange(photographs)
    )


if __name__ == "__main__":
    main()
