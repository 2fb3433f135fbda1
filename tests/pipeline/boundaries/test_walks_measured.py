"""What can only be said by looking at images: changes, measured moves, validation, figures.

The generator here is a stand-in that paints what its code says: two of its numbers become the hedge's height and the
tone of the brick, so that what a walk must change is known.
"""

import colorsys
import json
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from atlas.cli import main
from atlas.errors import InputError
from atlas.preset import BoundarySettings
from pipeline.boundaries import read_boundaries
from pipeline.boundaries.changes import measure_changes
from pipeline.boundaries.fitting import fit_boundaries
from pipeline.boundaries.looks import LOOKS
from pipeline.boundaries.measured import measured_moves
from pipeline.boundaries.sample import join
from pipeline.boundaries.store import Boundaries
from pipeline.boundaries.validation import KINDS, planted_attributes, validate
from pipeline.boundaries.walking import mean_interval, walk_codes
from pipeline.gan import Generator, save_network
from pipeline.gan.architecture import GeneratorArchitecture
from pipeline.inversion import Latents, write_latents
from pipeline.photos.calibration.attributes import PLANTED, sample_facade
from pipeline.photos.calibration.map import choose_place, make_map
from pipeline.photos.calibration.street import make_calibration
from pipeline.photos.dataset import Photo, open_dataset, write_dataset
from pipeline.photos.region import cell, percentiles

SIZE, DIM, LAYERS = 16, 8, 6


class Painter:
    """Paints a grey wall whose red, green and blue are the first three numbers of the mean w, 0.5 being the middle."""

    img_resolution, img_channels, num_ws, w_dim, z_dim = SIZE, 3, LAYERS, DIM, DIM
    gain = 0.4

    def __init__(self):
        self.mapping = _Mapping()
        self.synthesis = self._paint

    def _paint(self, w, noise_mode):
        assert noise_mode == "const"
        colour = w.mean(1)[:, :3] * self.gain
        return colour[:, :, None, None].expand(-1, -1, SIZE, SIZE)


class _Mapping(SimpleNamespace):
    def __init__(self):
        super().__init__(w_avg=torch.zeros(DIM))

    def __call__(self, z, truncation_psi=1.0):
        return (z * truncation_psi)[:, None].expand(-1, LAYERS, -1)


def axis_boundaries(normals: np.ndarray, span: float = 1.0) -> Boundaries:
    """Boundaries along given unit normals that are orthogonal to each other."""
    return Boundaries(
        "projector",
        "w",
        LAYERS,
        DIM,
        normals,
        np.zeros(3),
        np.ones(3),
        normals,
        np.ones(3),
        np.full(3, span),
        np.full(3, span),
    )


def bases(count=6, seed=0) -> np.ndarray:
    w = 0.2 * np.random.default_rng(seed).standard_normal((count, 1, DIM))
    return np.repeat(w, LAYERS, 1).astype(np.float32)


def test_walks_start_at_the_base_and_end_a_half_walk_away():
    found = axis_boundaries(np.eye(3, DIM), 2.0)
    base = bases(1)[0]
    codes = walk_codes(base, found.half_walks(), np.array([-1.0, 0.0, 1.0]))
    np.testing.assert_array_equal(codes[:, 1], np.stack([base] * 3))
    scores = found.scores(codes.reshape(-1, LAYERS, DIM)).reshape(3, 3, 3)
    np.testing.assert_allclose(scores[:, 2] - scores[:, 0], 2 * np.eye(3), atol=1e-6)


def test_intervals_of_means():
    values = np.random.default_rng(0).normal(3, 1, (400, 2))
    mean, low, high = mean_interval(values, 1)
    np.testing.assert_allclose(mean, values.mean(0))
    np.testing.assert_allclose(high - low, 2 * 1.96 / 20, rtol=0.15)


def test_changes_are_those_that_are_painted():
    boundaries = axis_boundaries(np.eye(3, DIM))
    found = measure_changes(Painter(), boundaries, bases(), dict.fromkeys(LOOKS, 0.1), 1)
    axes = found.report["axes"]
    # A whole walk adds 0.4 of the range −1 … 1 to one colour: 0.2 of full scale, and as much of its share of the luma.
    for axis, weight in zip(("health", "income", "education"), (0.299, 0.587, 0.114), strict=True):
        change = axes[axis]["brightness"]
        assert change["change"] == pytest.approx(0.2 * weight, abs=0.004)
        assert change["in_sd"] == pytest.approx(10 * change["change"], rel=1e-3)
        assert change["interval"][0] <= change["change"] <= change["interval"][1]
        assert axes[axis]["edges"]["change"] == 0
        assert found.report["typicality"][axis][2] > found.report["typicality"][axis][0]
    np.testing.assert_allclose(found.differences[0, ..., 0], 51, atol=1)
    np.testing.assert_allclose(found.differences[0, ..., 1], 0, atol=1)


@pytest.fixture(scope="module")
def calibration(tmp_path_factory):
    """A calibration street and codes that hold its three planted attributes and noise."""
    folder = tmp_path_factory.mktemp("calibration")
    make_calibration(folder / "dataset.zip", photographs=280, size=SIZE, seed=1, workers=1)
    return folder, *planted_codes(folder)


def planted_codes(folder: Path):
    dataset = open_dataset(folder / "dataset.zip")
    names = list(planted_attributes(dataset).values())
    truth = np.array([[float(p.attributes[name]) for name in names] for p in dataset.photos])
    truth = (truth - truth.mean(0)) / truth.std(0)
    codes = 0.3 * np.random.default_rng(2).standard_normal((len(truth), DIM))
    codes[:, :3] += truth
    latents = Latents(np.repeat(codes[:, None], LAYERS, 1).astype(np.float32), dataset.files)
    write_latents(folder / "projector.safetensors", latents, {"method": "projector"})
    return dataset, latents


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """The same of many photographs, which are not drawn."""
    folder = tmp_path_factory.mktemp("large")
    street_map = make_map(1)
    shares = percentiles(street_map.ranks)
    blank = np.zeros((4, 4, 3), np.uint8)

    def items():
        for index in range(2000):
            area, lon, lat = choose_place(street_map, 1, index)
            health, income, education = shares[area].tolist()
            photo = Photo(
                *("", "street", f"house {index}", lat, lon, "", street_map.areas.codes[area], (1, 1, 1)),
                *((health, income, education), cell(lat, lon)),
                sample_facade(1, index, street_map.scores[area]).as_text(),
            )
            yield photo, blank

    write_dataset(folder / "dataset.zip", items(), {"planted": PLANTED})
    return planted_codes(folder)


class StreetPainter(Painter):
    """Paints a street: a wall of brick over a pavement, with a hedge and a door, as the first three numbers say."""

    def _paint(self, w, noise_mode):
        hedge, door, tone = w.mean(1)[:, :3].T
        image = torch.full((len(w), 3, 64, 64), 0.6)
        wall = 0.55 + 0.38 * 0.29 * tone
        image[:, 0, 16:55] = wall[:, None, None]
        image[:, 1, 16:55] = 0.75 * wall[:, None, None]
        image[:, 2, 16:55] = 0.6 * wall[:, None, None]
        for k in range(len(w)):
            height = int(torch.round(4 + 2 * hedge[k]).clamp(0, 12))
            image[k, :, 55 - height : 55, :40] = torch.tensor([0.1, 0.5, 0.1])[:, None, None]
            hue = (302.5 + 50 * float(door[k])) % 360

            colour = torch.tensor(colorsys.hsv_to_rgb(hue / 360, 0.8, 0.6))
            image[k, :, 38:55, 44:54] = colour[:, None, None]
        return image * 2 - 1


def fitted(latents, dataset, **changes):
    return fit_boundaries(join(latents, dataset), BoundarySettings(**changes), 1, "projector", (LAYERS, DIM))


def test_what_was_planted_is_found_by_partial_directions_and_not_by_chance(large):
    dataset, latents = large
    painter = StreetPainter()
    painter.img_resolution = 64
    report = validate(painter, fitted(latents, dataset, c=0.01), dataset, bases(8), 1)
    assert report["attributes"] == ["hedge", "door_hue", "brick_tone"]
    assert list(report["kinds"]) == list(KINDS)
    for kind in ("ideal", "partial"):
        table = np.array(report["kinds"][kind]["table"])
        own = np.diagonal(table[..., 0])
        assert (own > 0.5).all(), kind
    assert report["kinds"]["ideal"]["reached"]
    # Boundaries of correlated dimensions lean on each other's signs, so held scores must be paid back elsewhere.
    orthogonal, raw = (np.array(report["kinds"][kind]["table"])[..., 0] for kind in ("orthogonal", "raw"))
    off = ~np.eye(3, dtype=bool)
    assert raw[off].mean() > 0.5
    assert orthogonal[off].mean() < 0
    for kind in ("shuffled", "random"):
        table = np.array(report["kinds"][kind]["table"])
        assert (table[..., 1] <= 0).all(), kind
        assert (table[..., 2] >= 0).all(), kind
        assert not report["kinds"][kind]["reached"]


def test_only_a_street_whose_attributes_are_known_can_be_validated(street):
    with pytest.raises(InputError, match="has no planted attributes to compare with"):
        planted_attributes(open_dataset(street.data))


def test_measured_moves_are_those_of_the_inverted_images(large):
    dataset, latents = large
    fit = fitted(latents, dataset, c=0.01)
    painter = Painter()
    painter.gain = 0.05  # so little that no colour is clipped
    seen = []

    def invert(images):
        """Read the colours back: a perfect inversion of what the painter shows."""
        seen.append(len(images))
        codes = np.zeros((len(images), LAYERS, DIM), np.float32)
        codes[..., :3] = ((images.mean((1, 2)) / 127.5 - 1) / painter.gain)[:, None]
        return codes

    small = bases(4)
    found = measured_moves(painter, fit.labelled, (0.01,) * 3, fit.boundaries, small, invert, BoundarySettings(), 1)
    assert seen == [4 * 3 * 2]
    assert sum(found["photographs"].values()) == len(latents)
    computed, measured = np.array(found["computed"]), np.array(found["measured"])
    # Computed from the codes, a walk moves every base alike; the painter's eight bits do not.
    np.testing.assert_allclose(computed[..., 1], computed[..., 2], atol=1e-3)
    assert np.trace(computed[..., 0]) > 1
    assert (measured[..., 1] <= measured[..., 0] + 1e-4).all()
    assert (measured[..., 0] <= measured[..., 2] + 1e-4).all()
    # The painter shows three of the eight numbers: what is measured differs by what the five others hold.
    np.testing.assert_allclose(measured[..., 0], computed[..., 0], atol=0.35)
    assert (measured[..., 0] != computed[..., 0]).any()


@pytest.fixture(scope="module")
def finished(calibration, tmp_path_factory):
    """A whole run of the command with a real, untrained generator."""
    folder, _, _ = calibration
    torch.manual_seed(0)
    generator = Generator(GeneratorArchitecture(DIM, 0, DIM, SIZE, 3, 2, (8, 8, 8))).eval()
    path = folder / "generator.safetensors"
    save_network(generator, path)
    out = tmp_path_factory.mktemp("whole")
    return run(folder, path, out), out, path


def run(folder: Path, generator: Path, out: Path, *options: str):
    command = [
        *("boundaries", "--latents", str(folder / "projector.safetensors"), "--data", str(folder / "dataset.zip")),
        *("--generator", str(generator), "--out", str(out), "--permutations", "2", "--bootstraps", "100"),
        *("--bases", "3", "--reinverted", "2", "--reinvert-steps", "2", "--c", "0.01", *options),
    ]
    return CliRunner().invoke(main, command)


def test_the_whole_stage(finished):
    result, out, _ = finished
    assert result.exit_code == 0, result.output
    report = json.loads((out / "report.json").read_text())
    for section in ("changes", "moves", "validation", "units", "spread"):
        assert set(report[section]) == {"projector"}
    names = {
        *("photographs", "latent-map", "inversions", "matrix-projector", "differences-projector"),
        *(f"{kind}-projector-{axis}" for kind in ("projection", "streets") for axis in report["axes"]),
    }
    assert set(report["figures"]) == names
    assert {p.name for p in (out / "figures").iterdir()} == {f"{n}.{kind}" for n in names for kind in ("svg", "png")}
    for figure in report["figures"].values():
        assert figure["caption"]
        assert figure["numbers"]
        assert not figure["local_only"]
        for file in figure["files"]:
            data = (out / file).read_bytes()
            assert data.startswith(b"\x89PNG") or data.startswith(b"<?xml")
            assert b"<dc:date>" not in data
            assert b"matplotlib.org" not in data.lower()
    assert report["moves"]["projector"]["bases"] == 2
    assert read_boundaries(out / "boundaries.safetensors", "projector").warnings == tuple(report["warnings"])


def test_every_key_is_explained_on_the_page_and_no_other(finished, repository):
    _, out, _ = finished
    report = json.loads((out / "report.json").read_text())
    page = (repository / "docs" / "boundaries.md").read_text(encoding="utf-8")
    _, _, sections = page.partition("## The keys of report.json")
    sections, _, rows = sections.partition("A row of `table1`:")
    rows, _, _ = rows.partition("`table1.csv` has")

    def named(part):
        cells = re.findall(r"^\| (`[^|]+`) \|", part, re.MULTILINE)
        return [name for cell in cells for name in re.findall(r"`(\w+)`", cell)]

    assert sorted(named(sections)) == sorted(report)
    keys = {key for row in report["table1"] for key in row}
    assert "p" in keys
    assert sorted(named(rows)) == sorted(keys)


def test_figures_are_the_same_bytes_again(finished, calibration, tmp_path):
    _, out, generator = finished
    assert run(calibration[0], generator, tmp_path).exit_code == 0
    mine = {p.name: p.read_bytes() for p in (tmp_path / "figures").iterdir()}
    assert mine == {p.name: p.read_bytes() for p in (out / "figures").iterdir()}
    assert (tmp_path / "report.json").read_bytes() == (out / "report.json").read_bytes()


def test_photographs_that_may_not_be_published_are_marked(finished, calibration, tmp_path):
    from pipeline.boundaries.figures.sheets import Figures

    _, dataset, _ = calibration
    figures = Figures(tmp_path / "figures", True, 1, {})
    figures.photographs(dataset)
    assert figures.said["photographs"]["local_only"]
    assert figures.said["photographs"]["numbers"]["photographs"] == 280


def test_a_generator_of_other_codes(calibration, tmp_path):
    torch.manual_seed(0)
    other = Generator(GeneratorArchitecture(4, 0, 4, SIZE, 3, 2, (8, 8, 8))).eval()
    save_network(other, tmp_path / "other.safetensors")
    result = run(calibration[0], tmp_path / "other.safetensors", tmp_path / "out")
    assert result.exit_code == 2
    assert "must be [6, 4] as the generator's are, got [6, 8]" in result.stderr


def test_validate_prints_the_tables_and_writes_them(finished, calibration, tmp_path):
    _, _, generator = finished
    folder, _, _ = calibration
    command = ["validate", "--generator", str(generator), "--latents", str(folder / "projector.safetensors")]
    command += ["--data", str(folder / "dataset.zip"), "--c", "0.01", "--bases", "3", "--out", str(tmp_path / "v.json")]
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 0, result.output
    for kind in KINDS:
        assert any(line.startswith(kind) for line in result.stdout.splitlines())
    assert set(json.loads((tmp_path / "v.json").read_text())["kinds"]) == set(KINDS)
