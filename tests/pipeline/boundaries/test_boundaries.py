"""The stage and `atlas boundaries`: planted directions are found, files are sound, bad input is one clear line."""

import csv
import json
import shutil

import numpy as np
import pytest
from click.testing import CliRunner

from atlas.cli import main
from atlas.errors import InputError
from atlas.preset import BoundarySettings
from pipeline.boundaries import read_boundaries, step_sizes
from pipeline.boundaries.fitting import fit_boundaries
from pipeline.boundaries.report import build_report
from pipeline.boundaries.sample import balanced_sample, join
from pipeline.inversion import Latents, read_latents, write_latents
from pipeline.photos.dataset import open_dataset


def run(latents, data, out, *options):
    command = ["boundaries", "--latents", str(latents), "--data", str(data), "--out", str(out), *options]
    return CliRunner().invoke(main, command)


@pytest.fixture(scope="module")
def done(street, tmp_path_factory):
    out = tmp_path_factory.mktemp("boundaries")
    result = run(street.latents, street.data, out)
    assert result.exit_code == 0, result.output
    return out, result


def fit(planted, seed=1, **changes):
    settings = BoundarySettings(**changes)
    return fit_boundaries(read_latents(planted.latents), open_dataset(planted.data), settings, seed, "projector")


def test_planted_directions_are_found(plant):
    planted = plant(areas=800, per_area=3, noise=0.5)
    found = fit(planted, c=0.01).boundaries
    assert ((found.normals * planted.truth).sum(1) > 0.9).all()  # and so plus is less deprived


def test_nothing_is_found_where_nothing_is_planted(plant):
    for evaluation in fit(plant(strength=0.0)).evaluations:
        assert 0.35 < evaluation.auc < 0.65


def test_a_walk_moves_its_own_score_by_the_span_and_no_other(street):
    found = fit(street).boundaries
    steps = 7
    sizes = step_sizes(found, steps)
    start = read_latents(street.latents).w[:1].astype(np.float64)
    for axis in range(3):
        end = start + 2 * steps * sizes[axis] * found.directions[axis]
        moved = (found.scores(end) - found.scores(start))[0]
        expected = np.zeros(3)
        expected[axis] = found.score_span[axis]
        np.testing.assert_allclose(moved, expected, atol=1e-9)


def test_scores_are_those_of_the_machine_and_span_the_photographs(street):
    found, latents = fit(street).boundaries, read_latents(street.latents)
    scores = found.scores(latents.w)
    np.testing.assert_allclose(scores, latents.w[:, 0] @ found.normals.T + found.intercepts, rtol=1e-5)
    low, high = np.percentile(scores, [5, 95], axis=0)
    np.testing.assert_allclose(found.score_span, high - low, rtol=1e-5)


def test_w_plus_is_flattened(plant):
    planted = plant(layered=True)
    found = fit(planted).boundaries
    assert found.space == "w+"
    assert found.normals.shape == (3, 64)
    latents = read_latents(planted.latents)
    scores = found.scores(latents.w)
    np.testing.assert_allclose(scores, latents.w.reshape(-1, 64) @ found.normals.T + found.intercepts, rtol=1e-4)


def test_classes_are_balanced_and_of_the_right_fifths(street):
    labelled = join(read_latents(street.latents), open_dataset(street.data))
    sample = balanced_sample(labelled, 1, 0.2, 5, 3)
    incomes = labelled.percentiles[sample.rows, 1]
    assert (incomes[sample.labels == 0] <= 0.2).all()
    assert (incomes[sample.labels == 1] >= 0.8).all()
    assert (sample.labels == 0).sum() == (sample.labels == 1).sum() == min(sample.found)
    assert (np.diff(sample.rows) > 0).all()


def test_the_files(done, street):
    out, _ = done
    assert sorted(p.name for p in out.iterdir()) == [
        "boundaries.safetensors",
        "report.json",
        "stage.json",
        "table1.csv",
    ]
    report = json.loads((out / "report.json").read_text())
    assert report["methods"] == ["projector"]
    assert report["axes"] == ["health", "income", "education"]
    assert report["dataset"] == {"photographs": 600, "areas": 120}
    assert [row["axis"] for row in report["table1"]] == report["axes"]
    for row in report["table1"]:
        assert {"method": "projector", "protocol": "area", "folds": 5}.items() <= row.items()
        assert row["f1_interval"][0] <= row["f1"] <= row["f1_interval"][1]
        assert row["f1"] == pytest.approx(
            2 * row["precision"] * row["recall"] / (row["precision"] + row["recall"]), abs=1e-5
        )
        assert row["auc"] > 0.8
        assert row["n_train"] == round(row["n"] * 0.8)
    found = read_boundaries(out / "boundaries.safetensors", "projector")
    np.testing.assert_allclose(report["cosines"]["projector"], found.normals @ found.normals.T, atol=1e-6)
    np.testing.assert_allclose(report["retained"]["projector"], found.retained, atol=1e-6)
    np.testing.assert_allclose(report["walk_length"]["projector"], 24 * step_sizes(found, 12), atol=1e-5)
    assert (found.space, found.num_ws, found.w_dim) == ("w", 4, 16)


def test_the_papers_rows_stand_beside(done):
    out, _ = done
    report = json.loads((out / "report.json").read_text())
    assert len(report["paper_table1"]) == 9
    for row in report["paper_table1"]:  # the paper's F1 follow from its precision and recall
        f1 = 2 * row["precision"] * row["recall"] / (row["precision"] + row["recall"])
        assert row["f1"] == pytest.approx(f1, abs=0.002)
    rows = list(csv.DictReader((out / "table1.csv").open()))
    assert len(rows) == 12
    assert [row["protocol"] for row in rows[:3]] == ["area"] * 3
    assert rows[3] | {"method": "E4E", "axis": "income", "f1": "0.756", "n": ""} == rows[3]


def test_the_same_seed_gives_the_same_bytes(done, street, tmp_path):
    out, _ = done
    assert run(street.latents, street.data, tmp_path / "again").exit_code == 0
    for name in ("boundaries.safetensors", "report.json", "table1.csv"):
        assert (tmp_path / "again" / name).read_bytes() == (out / name).read_bytes()
    assert run(street.latents, street.data, tmp_path / "other", "--seed", "2").exit_code == 0
    assert (tmp_path / "other" / "report.json").read_bytes() != (out / "report.json").read_bytes()


def test_the_table_is_printed_or_the_report_as_json(done, street):
    out, result = done
    assert [line.split()[0] for line in result.stdout.splitlines()] == ["axis", "health", "income", "education"]
    as_json = run(street.latents, street.data, out, "--json")
    assert json.loads(as_json.stdout) == json.loads((out / "report.json").read_text())
    assert "up to date" in as_json.stderr


def test_photographs_may_be_fewer_than_the_datasets(street, tmp_path):
    every = read_latents(street.latents)
    rows = np.arange(0, 600, 2)
    some = Latents(every.w[rows], tuple(every.files[i] for i in rows))
    write_latents(tmp_path / "projector.safetensors", some)
    assert run(tmp_path / "projector.safetensors", street.data, tmp_path / "out").exit_code == 0
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["dataset"]["photographs"] == 300


def test_little_left_of_a_normal_is_said_plainly(street):
    found = fit(street)
    object.__setattr__(found.boundaries, "retained", np.array([0.9, 0.12, 0.9]))
    report = build_report([found], BoundarySettings(), 1, {})
    (warning,) = report["warnings"]
    assert "normal of income 12% is left" in warning


def refused(result, *words):
    assert result.exit_code == 2, result.output
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("Error:")]
    assert all(word in line for word in words), line


@pytest.fixture
def changed(street, tmp_path):
    """Writes latents that are not as they should be and runs the command on them."""

    def go(change, metadata=None, data=street.data, *options):
        every = read_latents(street.latents)
        write_latents(tmp_path / "projector.safetensors", change(every), metadata)
        return run(tmp_path / "projector.safetensors", data, tmp_path / "out", *options)

    return go


def test_latents_that_are_not_the_datasets(changed, plant):
    small = plant(areas=20)
    refused(changed(lambda every: every, None, small.data), "600 latent codes and 100 photographs")
    refused(
        changed(lambda every: Latents(every.w[:2], ("00000/img00000000.png", "elsewhere.png"))),
        "the latents name elsewhere.png",
    )
    refused(changed(lambda every: every, {"photographs_sha256": "0" * 64}), "made from other photographs")


def test_latents_in_another_order(changed):
    refused(
        changed(lambda every: Latents(every.w[[0, 2, 1]], tuple(every.files[i] for i in (0, 2, 1)))),
        "must be in the order",
        "img00000001.png after 00000/img00000002.png",
    )
    refused(changed(lambda every: Latents(every.w[[0, 0]], (every.files[0],) * 2)), "must be in the order")


def test_latents_that_are_no_numbers_or_all_the_same(changed):
    def broken(every):
        every.w[7, 0, 0] = np.inf
        return every

    refused(changed(broken), "img00000007.png is not finite")
    refused(changed(lambda every: Latents(every.w * 0 + 1, every.files)), "600 photographs are the same")


def test_a_class_that_is_empty(street, plant, tmp_path):
    latents, dataset = read_latents(street.latents), open_dataset(street.data)
    middling = np.array([0.1 < p.percentiles[2] < 0.75 for p in dataset.photos])
    some = Latents(latents.w[middling], tuple(f for f, m in zip(latents.files, middling, strict=True) if m))
    write_latents(tmp_path / "projector.safetensors", some)
    refused(
        run(tmp_path / "projector.safetensors", street.data, tmp_path / "out"),
        "axis education has no photograph in its least deprived fifth",
        "0 in the least",
    )


def test_too_few_areas(plant, tmp_path):
    small = plant(areas=12, per_area=10)
    refused(run(small.latents, small.data, tmp_path / "out", "--folds", "12"), "12 folds need as many", "lower --folds")
    tiny = plant(areas=6, per_area=10)
    result = run(tiny.latents, tiny.data, tmp_path / "out", "--folds", "2", "--fifth", "0.2")
    refused(result, "area")


def test_a_percentile_that_is_no_number(street):
    latents, dataset = read_latents(street.latents), open_dataset(street.data)
    import dataclasses

    rows = list(dataset.photos)
    rows[3] = dataclasses.replace(rows[3], percentiles=(0.1, float("nan"), 0.2))
    with pytest.raises(InputError, match=r"income percentile of 00000/img00000003\.png must be a number"):
        join(latents, dataclasses.replace(dataset, photos=tuple(rows)))


def test_settings_out_of_range(street, tmp_path):
    refused(run(street.latents, street.data, tmp_path, "--fifth", "0.7"), "fifth must be 0.01 … 0.5")
    refused(run(street.latents, street.data, tmp_path, "--folds", "1"), "folds must be 2")


def test_files_that_are_not_what_they_should_be(street, tmp_path):
    refused(run(street.data, street.data, tmp_path / "out"), "not a whole file of latents")
    refused(run(street.latents, street.latents, tmp_path / "out"), "projector.safetensors")


def test_reading_boundaries(done, tmp_path):
    out, _ = done
    with pytest.raises(InputError, match="no boundaries of method e4e: it has projector"):
        read_boundaries(out / "boundaries.safetensors", "e4e")
    with pytest.raises(InputError, match="no boundaries at"):
        read_boundaries(tmp_path / "absent", "projector")
    shutil.copy(out / "report.json", tmp_path / "wrong.safetensors")
    with pytest.raises(InputError, match="not a whole file of boundaries"):
        read_boundaries(tmp_path / "wrong.safetensors", "projector")
