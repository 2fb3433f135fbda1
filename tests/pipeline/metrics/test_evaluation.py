"""A tiny generator against drawn photographs, by the command too."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from atlas.cli import main
from atlas.errors import InputError
from pipeline.gan import save_network
from pipeline.gan.architecture import GeneratorArchitecture
from pipeline.gan.networks import Generator
from pipeline.metrics import evaluation, extractors
from pipeline.metrics.evaluation import FeatureFiles, Samples, evaluate
from pipeline.metrics.extractors import lite0_distance
from pipeline.metrics.path_length import path_length
from pipeline.metrics.settings import MetricsSettings
from pipeline.photos.dataset import Photo, write_dataset

SETTINGS = MetricsSettings(samples=40, pairs=6)


def photo(block):
    return Photo(
        file="",
        source="drawn",
        source_id="0",
        lat=51.5,
        lon=0.0,
        taken="",
        area="A",
        ranks=(1, 1, 1),
        percentiles=(0.5, 0.5, 0.5),
        group=f"E{block}N180",
    )


def street(count, seed):
    """Houses of two colours with a door: enough for features to tell them apart, [count, 32, 32, 3] uint8."""
    rng = np.random.default_rng(seed)
    images = np.empty((count, 32, 32, 3), np.uint8)
    for image in images:
        image[:] = rng.integers(0, 256, 3)
        image[rng.integers(4, 20) :] = rng.integers(0, 256, 3)
        left = rng.integers(0, 24)
        image[20:, left : left + 6] = rng.integers(0, 256, 3)
    return images


@pytest.fixture(autouse=True, scope="module")
def small():
    """Features of 64 px instead of 224: a tenth of the time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(extractors, "LITE0_SIDE", 64)
        yield


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "dataset.zip"
    # One photograph a block; about a tenth of the blocks is held out.
    items = [(photo(block), image) for block, image in enumerate(street(160, 1))]
    write_dataset(path, items, {"licence": "", "attribution": "", "resize_filter": "none, drawn"})
    return path


@pytest.fixture(scope="module")
def unseen(tmp_path_factory):
    path = tmp_path_factory.mktemp("unseen") / "unseen.zip"
    items = [(photo(block), image) for block, image in enumerate(street(60, 2))]
    write_dataset(path, items, {"licence": "", "attribution": ""})
    return path


def tiny(resolution=32, seed=0):
    torch.manual_seed(seed)
    return Generator(GeneratorArchitecture(16, 0, 16, resolution, 3, 2, (16,) * (resolution.bit_length() - 2))).eval()


@pytest.fixture(scope="module")
def generator(tmp_path_factory):
    path = tmp_path_factory.mktemp("network") / "generator.safetensors"
    save_network(tiny(), path)
    return path


@pytest.fixture(scope="module")
def evaluated(generator, photographs, tmp_path_factory):
    out = tmp_path_factory.mktemp("metrics")
    return evaluate(generator, photographs, out, SETTINGS, 1), out


def test_every_number_is_named_after_its_features(evaluated):
    report, out = evaluated
    assert json.loads((out / "metrics.json").read_text()) == report
    names = [number["name"] for number in report["numbers"]]
    assert names == [
        "FID (EfficientNet-Lite0 features)",
        "KID (EfficientNet-Lite0 features)",
        "KID of two halves of the photographs (EfficientNet-Lite0 features)",
        "precision (EfficientNet-Lite0 features)",
        "recall (EfficientNet-Lite0 features)",
        "path length in W, end (EfficientNet-Lite0 perceptual distance)",
    ]
    assert "Inception" not in json.dumps(report)
    assert report["dataset"]["resize_filter"] == "none, drawn"
    assert report["features"][0]["resize"] == "bilinear, antialiased, to 64 px"
    assert report["features"][0]["sha256"].startswith("57934424")


def test_an_untrained_generator_is_far_from_photographs_and_copies_nothing(evaluated):
    report, _ = evaluated
    fid, kid, halves, precision, _, length = (number["value"] for number in report["numbers"])
    assert fid > 0
    assert kid > report["numbers"][2]["interval"][1]
    assert abs(halves) < kid / 3
    assert precision < 0.5
    assert length > 0
    found = report["memorisation"]
    assert found["flagged"] is False
    assert found["held_out"] >= 10
    assert found["held_out"] + found["rest"] == 160
    distances = [pair["distance"] for pair in found["closest"]]
    assert len(distances) == 10
    assert distances == sorted(distances)


def test_without_photographs_held_out_it_says_that_they_were_seen(evaluated):
    report, _ = evaluated
    assert report["held_out"] is None
    assert report["compared_with"].startswith("the photographs of the dataset, which the generator has seen")
    assert report["memorisation"]["held_out_are"].startswith(
        "whole blocks of the dataset, which the generator has seen"
    )


def test_with_photographs_held_out_all_is_held_against_these(copying, copied, unseen):
    """A generator that gives back what it was shown is as good as perfect with these, and flagged against others."""
    alone, _ = copied
    report, out = copying(unseen)
    assert (report["held_out"]["file"], report["held_out"]["photographs"], report["dataset"]["photographs"]) == (
        "unseen.zip",
        60,
        160,
    )
    assert "never saw" in report["compared_with"]
    assert {n["photographs"] for n in report["numbers"]} == {60}
    assert [n["name"] for n in report["numbers"]] == [n["name"] for n in alone["numbers"]]
    for mine, other in zip(report["numbers"], alone["numbers"], strict=True):
        assert mine["value"] != other["value"], mine["name"]
    assert alone["numbers"][3]["value"] == 1.0  # precision: each sample is one of the photographs
    found = report["memorisation"]
    assert (found["flagged"], found["held_out"], found["rest"]) == (True, 60, 160)
    assert "never saw" in found["held_out_are"]
    rows = (out / "False" / "nearest.csv").read_text().splitlines()
    assert rows == (out / "True" / "nearest.csv").read_text().splitlines()
    for i, row in enumerate(rows[1:]):
        sample, file, distance = row.split(",")
        assert (sample, file) == (str(i), f"00000/img{i + 7:08d}.png")
        assert float(distance) < 1e-3


def test_photographs_that_are_not_held_out_are_refused(generator, photographs, unseen, tmp_path):
    with pytest.raises(InputError, match=r"160 of its 160 are in .*dataset\.zip too"):
        evaluate(generator, photographs, tmp_path, SETTINGS, 1, held_out=photographs)
    mixed = tmp_path / "mixed.zip"
    images = np.concatenate([street(30, 2), street(160, 1)[100:101]])
    write_dataset(mixed, [(photo(i), image) for i, image in enumerate(images)], {"licence": "", "attribution": ""})
    with pytest.raises(InputError, match="1 of its 31 are in"):
        evaluate(generator, photographs, tmp_path, SETTINGS, 1, held_out=mixed)
    small = tmp_path / "small.zip"
    write_dataset(small, [(photo(i), x[::2, ::2]) for i, x in enumerate(street(30, 2))], {"licence": ""})
    with pytest.raises(InputError, match="must hold photographs of 32 px"):
        evaluate(generator, photographs, tmp_path, SETTINGS, 1, held_out=small)
    assert not (tmp_path / "metrics.json").exists()


def test_the_nearest_photograph_of_every_sample_is_written(evaluated):
    report, out = evaluated
    header, *rows = (out / "nearest.csv").read_text().splitlines()
    assert header == "sample,photograph,distance"
    assert [int(row.split(",")[0]) for row in rows] == list(range(SETTINGS.samples))
    by_distance = sorted(rows, key=lambda row: float(row.split(",")[2]))
    closest = report["memorisation"]["closest"]
    assert [row.split(",")[1] for row in by_distance[:10]] == [pair["photograph"] for pair in closest]


def test_sheets(evaluated):
    _, out = evaluated
    with Image.open(out / "samples.jpg") as sheet:
        assert sheet.size == (8 * 36 + 4, 5 * 36 + 4)
    with Image.open(out / "nearest.jpg") as sheet:
        assert sheet.size == (4 * 36 + 4, 5 * 48 + 4)


def test_same_seed_same_bytes_whatever_lies_there(evaluated, generator, photographs, tmp_path):
    _, out = evaluated
    (tmp_path / "metrics.json").write_text("old")
    evaluate(generator, photographs, tmp_path, SETTINGS, 1)
    for name in ("metrics.json", "samples.jpg", "nearest.jpg", "nearest.csv"):
        assert (tmp_path / name).read_bytes() == (out / name).read_bytes(), name


@pytest.fixture(scope="module")
def copying(generator, photographs, tmp_path_factory):
    """Give a function that evaluates a generator that gives back what it was shown."""
    shown, out = street(160, 1), tmp_path_factory.mktemp("copying")

    def run(held_out):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Samples, "__call__", lambda self, start, stop: shown[start + 7 : stop + 7])
            settings = dataclasses.replace(SETTINGS, pairs=0)
            return evaluate(generator, photographs, out / str(held_out is None), settings, 1, held_out=held_out), out

    return run


@pytest.fixture(scope="module")
def copied(copying):
    return copying(None)


def test_a_generator_that_copies_is_flagged(copied):
    report, _ = copied
    found = report["memorisation"]
    assert found["flagged"] is True
    assert found["mann_whitney_p"] < 1e-4
    assert found["closest"][0]["distance"] < 1e-3
    copied = found["closest"][0]
    assert copied["photograph"] == f"00000/img{copied['sample'] + 7:08d}.png"
    precision = report["numbers"][3]["value"]
    assert precision == 1.0


def test_samples_do_not_depend_on_their_batch():
    samples = Samples(tiny(), 5, 1.0)
    apart = np.concatenate([samples(0, 2), samples(2, 3)]).astype(int)
    assert np.abs(apart - samples(0, 3)).max() <= 1
    assert np.abs(apart[0] - apart[1]).max() > 1


def test_path_length_of_a_generator_that_ignores_its_latent_is_nought():
    G = tiny()
    with torch.no_grad():
        for name, parameter in G.named_parameters():
            if name.endswith("affine.weight"):
                parameter.zero_()
    assert path_length(G, lite0_distance("cpu").function, 4, 1) == 0


def test_path_length_is_a_mean_slope():
    """Of an image whose every pixel is one number of w: known in closed form."""
    G = tiny()

    def synthesis(ws, noise_mode):
        return ws[:, :1, :1, None].expand(-1, 3, 8, 8)

    seen = []

    def distance(a, b):
        seen.append((a, b))
        return (a - b).square().mean((1, 2, 3))

    exact = G.double()
    exact.synthesis.forward = synthesis
    found = path_length(exact, distance, 200, 3, sampling="full", batch=50)
    rng, wanted = torch.Generator().manual_seed(3), []
    for _ in range(4):
        z = torch.randn(100, 16, generator=rng, dtype=torch.float64)
        torch.rand(50, 1, 1, generator=rng, dtype=torch.float64)
        w0, w1 = exact.mapping(z)[:, 0, 0].split(50)
        wanted.append((w1 - w0).square().detach())
    wanted = torch.cat(wanted).sort().values[1:-1]  # without the lowest and the highest hundredth
    assert found == pytest.approx(float(wanted.mean()), rel=0.05)
    with pytest.raises(ValueError, match="end, full"):
        path_length(G, distance, 2, 1, sampling="middle")


def test_bad_input_is_refused(generator, photographs, tmp_path):
    save_network(tiny(16), tmp_path / "small.safetensors")
    with pytest.raises(InputError, match="of 32 px"):
        evaluate(tmp_path / "small.safetensors", photographs, tmp_path, SETTINGS, 1)
    with pytest.raises(InputError, match="20 and more"):
        evaluate(generator, photographs, tmp_path, dataclasses.replace(SETTINGS, photographs=5), 1)
    with pytest.raises(InputError, match="--vgg"):
        FeatureFiles(lpips=tmp_path / "lpips.pth")


def test_the_command(generator, photographs, unseen, tmp_path):
    command = ["metrics", str(generator), "--data", str(photographs), "--out", str(tmp_path / "m")]
    command += ["--samples", "20", "--photographs", "40", "--pairs", "2", "--json"]
    done = CliRunner().invoke(main, command)
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    assert report["settings"]["samples"] == 20
    assert report["dataset"]["photographs"] == 40
    assert "KID (EfficientNet-Lite0 features)" in done.stderr
    assert "which the generator has seen" in done.stderr
    again = CliRunner().invoke(main, command)
    assert "metrics: up to date" in again.stderr
    held = CliRunner().invoke(main, [*command, "--held-out", str(unseen)])
    assert held.exit_code == 0, held.output
    assert "metrics: compared with photographs of another dataset, which the generator never saw" in held.stderr
    assert json.loads(held.stdout)["held_out"]["photographs"] == 40
    assert evaluation.REPORT == "metrics.json"
