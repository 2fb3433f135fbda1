"""A planted street: latent codes in which three directions are known to go with deprivation."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from pipeline.inversion import Latents, write_latents
from pipeline.photos.dataset import Photo, open_dataset, write_dataset

DIM = 16
LAYERS = 4


@dataclass(frozen=True)
class Planted:
    """Files of a dataset and its latents, and the truth behind them: unit directions [3, DIM]."""

    data: Path
    latents: Path
    truth: np.ndarray


def directions() -> np.ndarray:
    """Three unit directions with cosines of 0.5, 0.3 and 0.4 between them."""
    gram = np.array([[1, 0.5, 0.3], [0.5, 1, 0.4], [0.3, 0.4, 1]])
    frame = np.linalg.qr(np.random.default_rng(0).standard_normal((DIM, 3)))[0]
    return np.linalg.cholesky(gram) @ frame.T


def photos(percentiles: np.ndarray, areas: np.ndarray) -> list[Photo]:
    return [
        Photo(
            file="",
            source="photos.zip",
            source_id=f"{i}.jpg",
            lat=float(51.5 + 0.01 * (a // 4 // 12) + 0.001 * (a % 4)),
            lon=float(-0.1 + 0.015 * (a // 4 % 12)),
            taken="",
            area=f"A{a:03d}",
            ranks=(1, 2, 3),
            percentiles=tuple(float(v) for v in p),
            group=f"G{a // 4}",
        )
        for i, (p, a) in enumerate(zip(percentiles, areas, strict=True))
    ]


def write_street(path: Path, rows: list[Photo], licence: str, size: int = 4) -> None:
    """Photographs of one colour each: red where incomes are of the higher half, blue elsewhere."""
    colours = np.zeros((2, size, size, 3), np.uint8)
    colours[0, ..., 2] = colours[1, ..., 0] = 200
    write_dataset(path, ((row, colours[int(row.percentiles[1] > 0.5)]) for row in rows), {"licence": licence})


@pytest.fixture(scope="session")
def plant(tmp_path_factory):
    """Writes a planted street: (areas, photographs per area, strength, noise) → `Planted`."""

    def make(
        areas: int = 120,
        per_area: int = 5,
        strength: float = 3.0,
        noise: float = 1.0,
        layered: bool = False,
        licence: str = "CC0-1.0",
    ):
        rng = np.random.default_rng(11)
        place = rng.random((areas, 3))
        of = np.repeat(np.arange(areas), per_area)
        truth = directions()
        codes = strength * (place[of] - 0.5) @ np.linalg.pinv(truth).T  # a code's score on an axis is its place
        codes = codes + noise * rng.standard_normal((len(of), DIM)) + 5.0  # far from the origin, as W is
        w = np.repeat(codes[:, None], LAYERS, 1)
        if layered:
            w = w + 0.1 * rng.standard_normal(w.shape)
        folder = tmp_path_factory.mktemp("street")
        write_street(folder / "dataset.zip", photos(place[of], of), licence)
        files = open_dataset(folder / "dataset.zip").files
        latents = Latents(w.astype(np.float32), files)
        write_latents(folder / "projector.safetensors", latents, {"method": "projector"})
        return Planted(folder / "dataset.zip", folder / "projector.safetensors", truth)

    return make


@pytest.fixture(scope="session")
def street(plant) -> Planted:
    return plant()


@pytest.fixture(scope="session")
def few(plant) -> Planted:
    """A street so small that the whole stage runs in seconds."""
    return plant(areas=60, per_area=3)
