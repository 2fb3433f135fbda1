"""One harness for all methods: a method that knows the codes, one that knows nothing, and what is refused."""

import json

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from atlas.cli import main
from pipeline.gan.samples import to_uint8
from pipeline.inversion import Latents, write_latents
from pipeline.inversion.comparison_sheet import difference
from pipeline.inversion.projection import w_statistics
from pipeline.inversion.selection import held_out
from pipeline.photos.calibration.attributes import PLANTED
from pipeline.photos.dataset import Photo, open_dataset, write_dataset

BLOCKS, EACH = 60, 2


def photo(i, group):
    return Photo("", "photos.zip", f"{i}.jpg", 51.5, -0.1, "", f"A{i}", (1, 1, 1), (0.5, 0.5, 0.5), group)


class Street:
    """A dataset that the generator made itself, so that the codes of its photographs are known."""

    def __init__(self, folder, generator, count=BLOCKS * EACH, meta=None, group=lambda i: f"G{i // EACH}"):
        self.data, self.folder = folder / "dataset.zip", folder
        z = np.random.default_rng(2).standard_normal((count, 8)).astype(np.float32)
        w = generator.mapping(torch.from_numpy(z))
        images = to_uint8(generator.synthesis(w, noise_mode="const"))
        meta = {"licence": "", "planted": PLANTED} if meta is None else meta
        write_dataset(self.data, [(photo(i, group(i)), image) for i, image in enumerate(images)], meta)
        self.files = open_dataset(self.data).files
        self.w = w.numpy()
        self.mean = np.broadcast_to(w_statistics(generator, 10_000).mean.numpy(), self.w.shape)

    def latents(self, method, w, rows=slice(None), **facts):
        path = self.folder / f"{method}.safetensors"
        write_latents(path, Latents(w[rows], self.files[rows], {}, {"method": method, **facts}))
        return path


@pytest.fixture(scope="module")
def street(tmp_path_factory, tiny_generator_path):
    from pipeline.gan import load_generator

    return Street(tmp_path_factory.mktemp("street"), load_generator(tiny_generator_path))


def compare(generator, street, out, *paths, options=()):
    arguments = [*map(str, paths), "--generator", str(generator), "--data", str(street.data), "--out", str(out)]
    return CliRunner().invoke(main, ["compare", *arguments, *options])


@pytest.fixture(scope="module")
def done(street, tiny_generator_path, tmp_path_factory):
    """A method that knows the codes, one that has them in part, one that knows nothing."""
    out = tmp_path_factory.mktemp("compared") / "comparison.json"
    halfway = 0.5 * street.w + 0.5 * street.mean
    layered = halfway + 0.3 * np.random.default_rng(0).standard_normal(street.w.shape).astype(np.float32)
    methods = {"e4e": street.w, "restyle": layered, "projector": street.mean}
    paths = [street.latents(method, w) for method, w in methods.items()]
    result = compare(tiny_generator_path, street, out, *paths)
    assert result.exit_code == 0, result.output
    return out, json.loads(out.read_text()), result


def value(report, method, name):
    return report["methods"][method][name]["value"]


def test_the_three_and_the_mean_code_in_the_order_given(done):
    _, report, _ = done
    assert list(report["methods"]) == ["e4e", "restyle", "projector", "w_avg"]
    for entry in report["methods"].values():
        assert list(entry) == ["l2", "perceptual", "ssim", "psnr", "distance", "typicality", "layer_spread"]
        assert all(number["n"] == report["n"] for number in entry.values())


def test_only_photographs_of_held_out_blocks_are_compared(done, street):
    _, report, _ = done
    dataset = open_dataset(street.data)
    unseen = held_out(dataset.photos)
    assert 0 < unseen.sum() < len(dataset)
    assert report["files"] == [file for file, held in zip(dataset.files, unseen, strict=True) if held]
    assert report["held_out"] is True
    assert report["blocks"] * EACH == report["n"] == len(report["files"])


def test_known_codes_lose_nothing_but_rounding(done):
    _, report, _ = done
    assert value(report, "e4e", "l2") < (1 / 255) ** 2
    assert value(report, "e4e", "ssim") > 0.999
    assert value(report, "e4e", "psnr") > 48
    assert value(report, "e4e", "layer_spread") == 0
    assert report["methods"]["e4e"]["l2"]["better"] == 1
    assert report["methods"]["e4e"]["ssim"]["gain"]["interval"][0] > 0


def test_a_method_that_knows_nothing_gains_nothing(done):
    _, report, _ = done
    projector, baseline = report["methods"]["projector"], report["methods"]["w_avg"]
    for name in ("l2", "perceptual", "ssim", "psnr"):
        assert projector[name]["value"] == baseline[name]["value"]
        assert projector[name]["gain"]["value"] == 0
        assert projector[name]["better"] == 0
    assert projector["distance"]["value"] < 0.2
    assert projector["typicality"]["value"] > 0.99
    between = [value(report, method, "perceptual") for method in ("e4e", "restyle", "projector")]
    assert between == sorted(between)


def test_codes_of_the_generator_are_as_far_out_as_its_own(done):
    _, report, _ = done
    assert value(report, "e4e", "distance") == pytest.approx(report["own_codes"]["median_distance"], rel=0.3)
    assert 0.2 < value(report, "e4e", "typicality") < 0.8
    assert value(report, "restyle", "layer_spread") > 0.1


def test_planted_attributes_measured_in_image_and_photograph(done):
    _, report, _ = done
    assert set(report["attributes"]) == set(PLANTED)
    for by_method in report["attributes"].values():
        assert list(by_method) == ["e4e", "restyle", "projector", "w_avg"]
        assert by_method["e4e"]["value"] == pytest.approx(1, abs=0.01)
        assert by_method["w_avg"] == {"value": None, "interval": None, "n": report["n"]}
        low, high = by_method["restyle"]["interval"]
        assert low <= by_method["restyle"]["value"] <= high < 1


def test_the_sheet_shows_photograph_method_and_difference(done, street):
    out, report, _ = done
    with Image.open(out.with_suffix(".png")) as sheet:
        pixels = np.asarray(sheet)
    rows = [street.files.index(file) for file in report["files"]]
    first = open_dataset(street.data).images([rows[0]])[0]
    cell = np.repeat(np.repeat(first, 6, 0), 6, 1)  # 16 px shown at 96
    assert (pixels[4:100, 4:100] == cell).all()
    assert (pixels[4:100, 104:200].astype(int) - cell <= 1).all()  # the method that knows the codes
    assert np.abs(pixels[4:100, 204:300].astype(int) - 128).max() <= 1  # has lost nothing
    assert np.abs(pixels[4:100, 604:700].astype(int) - 128).max() > 10


def test_the_table_is_printed_and_no_duration_is_written(done, street, tiny_generator_path):
    out, _, result = done
    assert "that no encoder is trained on" in result.stdout
    assert "r hedge" in result.stdout
    assert len(result.stdout.splitlines()) == 6
    assert "second" not in out.read_text()
    record = {"settings": {"method": "e4e"}, "measured": {"seconds_per_photograph": 0.0123}}
    (street.folder / "e4e.stage.json").write_text(json.dumps(record))
    paths = [street.folder / f"{method}.safetensors" for method in ("e4e", "restyle", "projector")]
    again = compare(tiny_generator_path, street, out, *paths)
    assert "up to date" in again.stderr
    assert "0.0123" in next(line for line in again.stdout.splitlines() if line.startswith("e4e"))


def test_the_same_comparison_gives_the_same_bytes(done, street, tiny_generator_path, tmp_path):
    out, _, _ = done
    paths = [street.folder / f"{method}.safetensors" for method in ("e4e", "restyle", "projector")]
    other = tmp_path / "comparison.json"
    assert compare(tiny_generator_path, street, other, *paths, options=["--json"]).exit_code == 0
    assert other.read_bytes() == out.read_bytes()
    assert other.with_suffix(".png").read_bytes() == out.with_suffix(".png").read_bytes()


def test_methods_that_inverted_different_photographs_meet_on_those_of_both(street, tiny_generator_path, tmp_path):
    dataset = open_dataset(street.data)
    unseen = np.flatnonzero(held_out(dataset.photos))
    some = replace_folder(street, tmp_path)
    first = some.latents("e4e", some.w, slice(0, int(unseen[-1])))
    second = some.latents("projector", some.w, slice(int(unseen[1]), None))
    out = tmp_path / "comparison.json"
    assert compare(tiny_generator_path, some, out, first, second).exit_code == 0
    assert json.loads(out.read_text())["files"] == [dataset.files[i] for i in unseen[1:-1]]


def replace_folder(street, folder):
    """Return the street with another folder for latents."""
    other = object.__new__(Street)
    other.__dict__ = {**street.__dict__, "folder": folder}
    return other


def test_where_no_block_is_held_out_all_are_compared_and_it_says_so(tiny_generator, tiny_generator_path, tmp_path):
    alone = Street(tmp_path, tiny_generator, count=1, meta={"licence": ""}, group=lambda i: "G0")
    out = tmp_path / "comparison.json"
    result = compare(tiny_generator_path, alone, out, alone.latents("projector", alone.w))
    assert result.exit_code == 0, result.output
    report = json.loads(out.read_text())
    assert (report["n"], report["blocks"], report["held_out"]) == (1, 1, False)
    assert report["attributes"] == {}
    assert "none is held out" in result.stdout
    entry = report["methods"]["projector"]["l2"]
    assert entry["interval"] == [entry["value"]] * 2


def test_each_mistake_is_one_clear_line(street, tiny_generator_path, tiny_generator, tmp_path):
    out = tmp_path / "comparison.json"
    some = replace_folder(street, tmp_path)
    good = some.latents("e4e", some.w)

    def refused(*paths, words, data=some):
        result = compare(tiny_generator_path, data, out, *paths)
        assert result.exit_code == 2, result.output
        lines = [line for line in result.stderr.splitlines() if line.startswith("Error:")]
        assert len(lines) == 1
        assert words in lines[0], lines[0]
        assert not out.exists()

    (tmp_path / "again").mkdir()
    again = replace_folder(some, tmp_path / "again").latents("e4e", some.w)
    refused(good, again, words="the codes of e4e, which are there already")
    others = some.latents("restyle", some.w, photographs_sha256="0" * 64)
    refused(good, others, words="made with other photographs than the dataset's")
    others = some.latents("restyle", some.w, generator_sha256="0" * 64)
    refused(good, others, words="made with another generator")
    refused(good, some.latents("restyle", some.w[:, :3]), words="must be [6, 8] as the generator's are, got [3, 8]")
    apart = [some.latents("restyle", some.w, slice(0, 5)), some.latents("projector", some.w, slice(5, 9))]
    refused(*apart, words="was inverted by all of restyle, projector")
    broken = some.w.copy()
    broken[3] = np.nan
    refused(some.latents("projector", broken), words="img00000003.png is not finite")
    (tmp_path / "large").mkdir()
    large = Street(tmp_path / "large", tiny_generator, count=2)
    images = np.zeros((2, 32, 32, 3), np.uint8)
    write_dataset(large.data, [(photo(i, "G"), image) for i, image in enumerate(images)], {"licence": ""})
    refused(good, words="must be 16 × 16", data=large)
    assert compare(tiny_generator_path, some, tmp_path / "x.txt", good).exit_code == 2


def test_a_difference_is_grey_where_nothing_is_lost():
    a = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    assert (difference(a, a) == 128).all()
    black, white = np.zeros_like(a), np.full_like(a, 255)
    assert (difference(white, black) == 255).all()
    assert (difference(black, white) == 0).all()


def test_where_the_user_has_lpips_all_methods_are_measured_by_it(
    write_lpips, done, street, tiny_generator_path, tmp_path
):
    folder, out = tmp_path / "lpips", tmp_path / "comparison.json"
    folder.mkdir()
    write_lpips(folder, "vgg16")
    paths = [street.folder / f"{method}.safetensors" for method in ("e4e", "projector")]
    result = compare(tiny_generator_path, street, out, *paths, options=["--lpips", str(folder), "--compared", "3"])
    assert result.exit_code == 0, result.output
    report = json.loads(out.read_text())
    assert report["perceptual"] == "LPIPS (vgg16)"
    assert done[1]["perceptual"] == "EfficientNet-Lite0 perceptual"
    assert value(report, "e4e", "perceptual") < 0.1 * value(report, "w_avg", "perceptual")
    assert value(report, "projector", "perceptual") == value(report, "w_avg", "perceptual")
