"""The recorded tensors, a tiny generator and a tiny dataset, for the tests of inversion."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from pipeline.gan import Generator, load_generator, save_network
from pipeline.gan.architecture import GeneratorArchitecture
from pipeline.photos.dataset import Photo, write_dataset

PARITY = Path(__file__).resolve().parents[2] / "parity"


@pytest.fixture(autouse=True)
def one_thread():
    """Many small operations on two threads wait for each other whenever another process wants a core."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def recorded():
    """Tensors recorded from the official projector, with their tolerances under ``atol``."""
    tensors = load_file(PARITY / "projector.safetensors")
    facts = json.loads((PARITY / "inversion.json").read_text())
    return tensors, next(f for f in facts["fixtures"] if f["kind"] == "projector")


@pytest.fixture(scope="session")
def official_generator(tmp_path_factory):
    """The recorded generator, 32 px."""
    tensors = load_file(PARITY / "generator_a.safetensors")
    bare = {name[2:]: t.contiguous() for name, t in tensors.items() if name.startswith("G.")}
    path = tmp_path_factory.mktemp("generator") / "generator.safetensors"
    save_file(bare, path)
    return load_generator(path)


@pytest.fixture(scope="session")
def tiny_generator_path(tmp_path_factory) -> Path:
    """A generator of 16 px with random weights and noise that is not idle."""
    torch.manual_seed(5)
    generator = Generator(GeneratorArchitecture(8, 0, 8, 16, 3, 2, (8, 8, 8)))
    with torch.no_grad():
        for name, parameter in generator.named_parameters():
            if name.endswith("noise_strength"):
                parameter.fill_(0.1)
            if "torgb.weight" in name:
                parameter.mul_(0.15)  # images within [-1, 1]
    path = tmp_path_factory.mktemp("tiny") / "generator.safetensors"
    save_network(generator, path)
    return path


@pytest.fixture
def tiny_generator(tiny_generator_path) -> Generator:
    return load_generator(tiny_generator_path)


def make_photo(i: int, areas: int = 10) -> Photo:
    area = i % areas
    place = area / (areas - 1)
    return Photo(
        file="",
        source="photos.zip",
        source_id=f"{i}.jpg",
        lat=51.5,
        lon=-0.1,
        taken="",
        area=f"A{area}",
        ranks=(area + 1, areas - area, (area * 3) % areas + 1),
        percentiles=(place, 1 - place, ((area * 3) % areas) / (areas - 1)),
        group=f"G{area}",
    )


@pytest.fixture(scope="session")
def photographs_of():
    """Writes a dataset of ten photographs of ten areas: (path, size) → path."""

    def write(path: Path, size: int) -> Path:
        images = np.random.default_rng(3).integers(0, 256, (10, size, size, 3), dtype=np.uint8)
        write_dataset(path, ((make_photo(i), image) for i, image in enumerate(images)), {"licence": ""})
        return path

    return write


@pytest.fixture(scope="session")
def tiny_dataset_path(tmp_path_factory, photographs_of) -> Path:
    """Ten photographs of 16 px, of ten areas."""
    return photographs_of(tmp_path_factory.mktemp("dataset") / "dataset.zip", 16)
