"""The networks that come with the software: they are what their preset says, and good for what they are for."""

import dataclasses
import json

import numpy as np
import pytest
import torch

from atlas.errors import InputError
from atlas.files import sha256_path
from atlas.preset import ENCODERS, find_preset, load_preset
from atlas.resources import resource_folder
from pipeline.gan import load_generator
from pipeline.gan.config import resolve
from pipeline.inversion import load_encoder
from pipeline.inversion.batches import to_images
from pipeline.inversion.encoders.files import read_facts
from pipeline.photos.calibration.street import make_calibration
from pipeline.photos.dataset import open_dataset
from pipeline.run import Chain, RunFolder, with_sample

SAMPLE = resource_folder("samples") / "calibration"


@pytest.fixture(scope="module")
def preset():
    return load_preset(find_preset("calibration"))


@pytest.fixture(scope="module")
def generator():
    return load_generator(SAMPLE / "generator.safetensors")


def test_the_generator_is_what_its_preset_trains(preset, generator):
    assert generator.architecture == resolve(preset.train, preset.dataset.size).generator()


def test_its_logs_end_where_its_preset_does(preset):
    def last(name):
        return json.loads((SAMPLE / f"{name}.stats.jsonl").read_text().splitlines()[-1])

    assert last("train")["kimg"] == preset.train.kimg
    for method in ENCODERS:
        facts = read_facts(SAMPLE / f"{method}.safetensors")
        assert last(method)["step"] == facts["steps"] == preset.encoder.steps
        assert facts["generator_sha256"] == sha256_path(SAMPLE / "generator.safetensors")


def test_all_of_it_is_small():
    assert sum(path.stat().st_size for path in SAMPLE.rglob("*.safetensors")) <= 12 * 2**20


@pytest.mark.parametrize("method", ENCODERS)
def test_an_encoder_finds_streets_that_it_has_not_seen(generator, method, tmp_path):
    make_calibration(tmp_path / "dataset.zip", photographs=16, size=64, seed=99)
    photographs = to_images(open_dataset(tmp_path / "dataset.zip"), range(16), torch.device("cpu"))
    encoder = load_encoder(SAMPLE / f"{method}.safetensors", generator=generator)
    with torch.no_grad():
        found = generator.synthesis(encoder(photographs), noise_mode="const")
        mean = generator.synthesis(generator.mapping.w_avg.repeat(1, generator.num_ws, 1), noise_mode="const")
    assert (found - photographs).square().mean() < 0.5 * (mean - photographs).square().mean()


def test_it_stands_for_training_until_the_run_trains_its_own(preset, tmp_path):
    said = []
    folder = with_sample(RunFolder(tmp_path, "calibration"), preset, None, said.append)
    assert folder.generator == SAMPLE / "generator.safetensors"
    assert "--from train" in said[0]
    chain = Chain(preset, folder, None, "cpu", said.append)
    assert [chain.parts("train"), chain.parts("encoder")] == [[], []]

    anew = with_sample(RunFolder(tmp_path, "calibration"), preset, "train", said.append)
    assert anew.generator == tmp_path / "train" / "generator.safetensors"
    assert [len(Chain(preset, anew, None, "cpu", said.append).parts(name)) for name in ("train", "encoder")] == [1, 2]
    assert with_sample(RunFolder(tmp_path, "calibration"), preset, "invert", said.append).sample == SAMPLE

    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "stage.partial.json").write_text("{}")
    assert with_sample(RunFolder(tmp_path, "calibration"), preset, None, said.append).sample is None


@pytest.mark.parametrize("name", ["nowhere", "../calibration", "."])
def test_an_unknown_sample_is_named(preset, tmp_path, name):
    other = dataclasses.replace(preset, train=dataclasses.replace(preset.train, sample=name))
    with pytest.raises(InputError, match=r"train\.sample must be one of calibration"):
        with_sample(RunFolder(tmp_path, "calibration"), other, None, print)


def test_what_it_draws_differs_from_seed_to_seed(generator):
    z = torch.from_numpy(np.random.default_rng(3).standard_normal((8, generator.z_dim))).float()
    with torch.no_grad():
        images = generator.synthesis(generator.mapping(z, truncation_psi=0.7), noise_mode="const")
    assert images.std(0).mean() > 0.1
