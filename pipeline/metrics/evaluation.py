"""A generator against photographs: FID, KID, precision and recall, path length, and whether it copies.

Every number is named after the features it rests on. Samples are quantised to 8 bits, as photographs are, and are a
function of the seed and their number only. Memory holds the features of all images, and the images of one batch.
"""

from __future__ import annotations

import csv
import dataclasses
import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from atlas.errors import InputError
from atlas.files import sha256_path, write_bytes, write_json
from atlas.progress import Progress, silent
from pipeline.gan import Generator, load_generator
from pipeline.gan.samples import to_uint8
from pipeline.inversion.selection import held_out as blocks_held_out
from pipeline.metrics.extractors import (
    Distance,
    Extractor,
    extract,
    inception_v3,
    lite0,
    lite0_distance,
    lpips_distance,
    vgg16,
)
from pipeline.metrics.memorisation import Memorisation, memorisation
from pipeline.metrics.path_length import path_length
from pipeline.metrics.photographs import LEAST, Photographs, open_held_out
from pipeline.metrics.settings import MetricsSettings
from pipeline.metrics.statistics import LEVEL, Interval, frechet_distance, kernel_distance, precision_recall
from pipeline.photos.dataset import Dataset
from pipeline.photos.sheet import contact_sheet

FORMAT = 2
REPORT, SAMPLES, NEAREST, TABLE = "metrics.json", "samples.jpg", "nearest.jpg", "nearest.csv"
SHOWN, PAIRS_SHOWN = 64, 10
# What numbers and distances were made with, in words, with photographs held out and without.
UNSEEN = "photographs of another dataset, which the generator never saw"
SEEN = "the photographs of the dataset, which the generator has seen if it was trained on them"
SEEN_BLOCKS = "whole blocks of the dataset, which the generator has seen if it was trained on it"


@dataclass(frozen=True)
class FeatureFiles:
    """Weights that the user has, and we have not: of Inception-v3, of VGG16, and LPIPS's linear layers for it."""

    inception: Path | None = None
    vgg: Path | None = None
    lpips: Path | None = None

    def __post_init__(self) -> None:
        if self.lpips and not self.vgg:
            raise InputError("LPIPS needs VGG16's weights too: give --vgg beside --lpips")


@dataclass(frozen=True)
class Samples:
    """The samples of a generator: number ``i`` is always the same picture, whatever the batch it is asked for in."""

    G: Generator
    seed: int
    truncation: float

    @torch.no_grad()
    def __call__(self, start: int, stop: int) -> np.ndarray:
        """Return samples ``start`` … ``stop − 1``, [n, H, W, 3] uint8."""
        z = np.stack([np.random.default_rng([self.seed, i]).standard_normal(self.G.z_dim) for i in range(start, stop)])
        device = self.G.mapping.w_avg.device
        w = self.G.mapping(torch.from_numpy(z).float().to(device), truncation_psi=self.truncation)
        return to_uint8(self.G.synthesis(w, noise_mode="const"))


def evaluate(
    generator: Path,
    dataset: Path,
    out: Path,
    settings: MetricsSettings,
    seed: int,
    files: FeatureFiles | None = None,
    *,
    held_out: Path | None = None,
    device: str = "cpu",
    progress: Progress = silent,
) -> dict[str, Any]:
    """Compare a generator's samples with photographs.

    Writes ``metrics.json``, ``nearest.csv`` (for each sample the nearest photograph of ``dataset``) and two sheets.

    Args:
        generator: a checkpoint, unconditional, of the photographs' size.
        dataset: a ``dataset.zip``, the one that the generator was trained on.
        out: a folder, made if absent.
        settings: how much is compared.
        seed: of samples, blocks, halves and pairs.
        files: weights of better-known feature networks; without them all is by EfficientNet-Lite0.
        held_out: a ``dataset.zip`` of photographs that the generator never saw: numbers are then made with these, and
            the samples' distances to ``dataset`` are held against theirs. Without it, all is made with ``dataset``.
        device: where PyTorch runs.
        progress: told of images and pairs, over all of the work.

    Returns:
        What ``metrics.json`` holds.

    Raises:
        InputError: a file cannot be used, sizes differ, there are too few photographs, or the generator has seen some
            of those held out.
    """
    files = files or FeatureFiles()
    shown = Photographs.open(dataset, settings.photographs, seed)
    unseen = None if held_out is None else open_held_out(held_out, shown.dataset, settings.photographs, seed)
    photographs = unseen or shown
    G = _generator(generator, shown.dataset, device)
    samples = Samples(G, seed, settings.truncation)
    base = lite0(device)
    kernel = inception_v3(files.inception, device) if files.inception else base
    manifold = vgg16(files.vgg, device) if files.vgg else base
    distance = lpips_distance(files.vgg, files.lpips, device) if files.vgg and files.lpips else lite0_distance(device)

    extractors = {e.name: e for e in (base, kernel, manifold)}
    steps = len(extractors) * (settings.samples + len(photographs)) + settings.pairs + (len(shown) if unseen else 0)
    track = _Track(progress, steps)
    fakes = {n: extract(e, samples, settings.samples, device, track.part()) for n, e in extractors.items()}
    reals = {n: extract(e, photographs, len(photographs), device, track.part()) for n, e in extractors.items()}

    numbers = [
        *_distances(kernel, fakes[kernel.name], reals[kernel.name], seed),
        *_manifolds(manifold, fakes[manifold.name], reals[manifold.name]),
    ]
    if settings.pairs:
        length = path_length(
            G, distance.function, settings.pairs, seed, sampling=settings.sampling, progress=track.part()
        )
        numbers.append(_path_number(distance, length, settings))
    if unseen:
        copied = memorisation(
            fakes[base.name], extract(base, shown, len(shown), device, track.part()), reals[base.name]
        )
    else:
        mine, new = reals[base.name], blocks_held_out(shown.dataset.photos)[shown.chosen]
        copied = memorisation(fakes[base.name], mine, mine[new], mine[~new])

    report = {
        "format": FORMAT,
        "generator": {"file": generator.name, "sha256": sha256_path(generator)},
        "dataset": shown.facts(),
        "held_out": unseen.facts() if unseen else None,
        "compared_with": UNSEEN if unseen else SEEN,
        "settings": {**dataclasses.asdict(settings), "seed": seed, "noise": "the generator's own, constant"},
        "features": [e.facts() for e in extractors.values()],
        "numbers": numbers,
        "memorisation": {"held_out_are": UNSEEN if unseen else SEEN_BLOCKS, **_memorisation_facts(base, copied, shown)},
    }
    out.mkdir(parents=True, exist_ok=True)
    write_bytes(out / SAMPLES, contact_sheet(list(samples(0, min(SHOWN, settings.samples))), columns=8))
    write_bytes(out / NEAREST, _closest_pairs(copied, samples, shown))
    write_bytes(out / TABLE, _nearest_table(copied, shown))
    write_json(out / REPORT, report)
    return report


def _generator(path: Path, dataset: Dataset, device: str) -> Generator:
    G = load_generator(path, device=device)
    if G.c_dim or G.img_channels != 3 or G.img_resolution != dataset.size:
        raise InputError(
            f"{path} must be an unconditional generator of RGB images of {dataset.size} px, as the photographs are, "
            f"got {G.img_channels} channels, {G.img_resolution} px and a condition of {G.c_dim} numbers"
        )
    return G


def _distances(extractor: Extractor, fakes: np.ndarray, reals: np.ndarray, seed: int) -> list[dict[str, Any]]:
    """Return FID and KID, and the KID of two halves of the photographs: what a perfect generator would have."""
    counts = {"samples": len(fakes), "photographs": len(reals)}
    suffix = f"({extractor.name} features)"
    fid = {"name": f"FID {suffix}", "value": frechet_distance(reals, fakes), **counts}
    kid = {"name": f"KID {suffix}", **_interval(kernel_distance(reals, fakes, seed)), **counts}
    found = [fid, kid]
    order = np.random.default_rng(seed).permutation(len(reals))
    first, second = reals[order[: len(reals) // 2]], reals[order[len(reals) // 2 :]]
    if min(len(first), len(second)) >= LEAST:
        halves = _interval(kernel_distance(first, second, seed))
        name = f"KID of two halves of the photographs {suffix}"
        found.append({"name": name, **halves, "photographs": len(reals)})
    return found


def _interval(interval: Interval) -> dict[str, Any]:
    return {
        "value": interval.value,
        "interval": [interval.low, interval.high],
        "level": LEVEL,
        "blocks": interval.blocks,
        "block_size": interval.size,
    }


def _manifolds(extractor: Extractor, fakes: np.ndarray, reals: np.ndarray) -> list[dict[str, Any]]:
    precision, recall = precision_recall(reals, fakes)
    counts = {"k": 3, "samples": len(fakes), "photographs": len(reals)}
    suffix = f"({extractor.name} features)"
    return [
        {"name": f"precision {suffix}", "value": precision, **counts},
        {"name": f"recall {suffix}", "value": recall, **counts},
    ]


def _path_number(distance: Distance, length: float, settings: MetricsSettings) -> dict[str, Any]:
    return {
        "name": f"path length in W, {settings.sampling} ({distance.name} distance)",
        "value": length,
        "pairs": settings.pairs,
        "distance_sha256": distance.sha256,
    }


def _memorisation_facts(extractor: Extractor, found: Memorisation, shown: Photographs) -> dict[str, Any]:
    closest = _closest(found)
    return {
        "features": extractor.name,
        "samples": found.samples,
        "held_out": found.held_out,
        "rest": found.rest,
        "median_distance_samples": found.median_sample,
        "median_distance_held_out": found.median_held_out,
        "chance_that_a_sample_is_nearer": found.nearer,
        "mann_whitney_p": found.p_value,
        "share_nearer_than_every_held_out": found.below_all,
        "flagged": found.flagged,
        "closest": [
            {
                "sample": int(i),
                "photograph": shown.file(found.photograph[i]),
                "distance": float(found.distance[i]),
            }
            for i in closest
        ],
    }


def _nearest_table(found: Memorisation, shown: Photographs) -> bytes:
    """Return a table of all samples: the photograph nearest to each, and how far it is."""
    text = io.StringIO(newline="")
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(("sample", "photograph", "distance"))
    for i, (photograph, distance) in enumerate(zip(found.photograph, found.distance, strict=True)):
        rows.writerow((i, shown.file(photograph), f"{distance:.6g}"))
    return text.getvalue().encode()


def _closest(found: Memorisation) -> np.ndarray:
    """Return the samples that are nearest to a photograph, the nearest first."""
    return np.argsort(found.distance, kind="stable")[:PAIRS_SHOWN]


def _closest_pairs(
    found: Memorisation, samples: Callable[[int, int], np.ndarray], shown: Callable[[int, int], np.ndarray]
) -> bytes:
    """Return a sheet: each row two pairs, a sample and the photograph nearest to it, captioned with the distance."""
    images, captions = [], []
    for i in map(int, _closest(found)):
        p = int(found.photograph[i])
        images += [samples(i, i + 1)[0], shown(p, p + 1)[0]]
        captions += [f"sample {i}", f"d {found.distance[i]:.2f}"]
    return contact_sheet(images, columns=4, captions=captions)


class _Track:
    """One count of progress over several parts, each of which counts from 0."""

    def __init__(self, progress: Progress, total: int) -> None:
        self.progress, self.total, self.before, self.now = progress, total, 0, 0

    def part(self) -> Progress:
        """Return what the next part is to call."""
        self.before = self.now
        begun = self.before

        def update(done: int, total: int) -> None:
            self.now = begun + done
            self.progress(self.now, self.total)

        return update
