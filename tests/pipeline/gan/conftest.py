"""Recorded tensors and tiny datasets for the tests of the GAN."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from pipeline.photos.dataset import Photo, write_dataset

PARITY = Path(__file__).resolve().parents[2] / "parity"


@dataclass(frozen=True)
class Recording:
    """One recorded file: its tensors, its description, and a check that names what is off."""

    tensors: dict[str, Tensor]
    entry: dict[str, Any]

    def check(self, name: str, mine: Tensor) -> None:
        expected, limit = self.tensors[name], self.entry["outputs"][name]["suggested_atol"]
        assert mine.shape == expected.shape, name
        difference = (mine.detach() - expected).abs().max().item()
        assert difference <= limit, f"{name} is off by {difference}, allowed {limit}"

    def weights(self, prefix: str) -> dict[str, Tensor]:
        return {name[len(prefix) :]: t for name, t in self.tensors.items() if name.startswith(prefix)}


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> Iterator[None]:
    """Tiny tensors gain nothing from a second thread, and bytes can be compared with those of other processes."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def recording() -> Callable[[str], Recording]:
    entries = {e["file"]: e for e in json.loads((PARITY / "gan.json").read_text())["fixtures"]}

    def read(name: str) -> Recording:
        file = f"{name}.safetensors"
        return Recording(load_file(PARITY / file), entries[file])

    return read


@pytest.fixture(scope="session")
def network_files(
    recording: Callable[[str], Recording], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Path]:
    """Give a recorded network as a file of bare official names: "generator_a", "discriminator_b", …"""
    folder = tmp_path_factory.mktemp("networks")

    def write(name: str) -> Path:
        path = folder / f"{name}.safetensors"
        if not path.exists():
            weights = recording(name).weights("G." if name.startswith("generator") else "D.")
            save_file({k: t.contiguous() for k, t in weights.items()}, path)
        return path

    return write


def draw_photographs(count: int, size: int, seed: int = 5) -> np.ndarray:
    """Squares of one colour on another, [count, size, size, 3] uint8: enough to learn something from."""
    rng = np.random.default_rng(seed)
    images = np.empty((count, size, size, 3), np.uint8)
    for image in images:
        image[:] = rng.integers(0, 256, 3)
        top, left = rng.integers(0, size // 2, 2)
        image[top : top + size // 2, left : left + size // 2] = rng.integers(0, 256, 3)
    return images


def write_photographs(path: Path, images: np.ndarray) -> Path:
    photo = Photo(
        file="",
        source="drawn",
        source_id="0",
        lat=51.5,
        lon=0.0,
        taken="",
        area="A",
        ranks=(1, 1, 1),
        percentiles=(0.5, 0.5, 0.5),
        group="E530N180",
    )
    write_dataset(path, ((photo, image) for image in images), {"licence": "", "attribution": ""})
    return path


@pytest.fixture(scope="session")
def tiny_dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """40 drawn photographs of 16 px."""
    return write_photographs(tmp_path_factory.mktemp("data") / "dataset.zip", draw_photographs(40, 16))


@pytest.fixture
def rng() -> torch.Generator:
    return torch.Generator().manual_seed(3)
