"""The stage and `atlas boundaries`: planted directions are found, files are sound, bad input is one clear line."""

import csv
import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest
from click.testing import CliRunner
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from atlas.cli import main
from atlas.errors import InputError
from atlas.preset import BoundarySettings
from pipeline.boundaries import read_boundaries, step_sizes
from pipeline.boundaries.evaluation import evaluate
from pipeline.boundaries.fitting import direction_spread, fit_boundaries
from pipeline.boundaries.sample import balanced_sample, join
from pipeline.inversion import Latents, read_latents, write_latents
from pipeline.photos.dataset import open_dataset

DIM, LAYERS = 16, 4
QUICK = ("--permutations", "4", "--bootstraps", "100")


def run(latents, data, out, *options):
    command = ["boundaries", "--latents", str(latents), "--data", str(data), "--out", str(out), *QUICK, *options]
    return CliRunner().invoke(main, command)


@pytest.fixture(scope="module")
def done(few, tmp_path_factory):
    out = tmp_path_factory.mktemp("boundaries")
    result = run(few.latents, few.data, out)
    assert result.exit_code == 0, result.output
    return out, result


def fit(planted, seed=1, **changes):
    labelled = join(read_latents(planted.latents), open_dataset(planted.data))
    return fit_boundaries(labelled, BoundarySettings(**changes), seed, "projector", (LAYERS, DIM))


def test_planted_directions_are_found(plant):
    planted = plant(areas=800, per_area=3, noise=0.5)
    found = fit(planted, c=0.01).boundaries
    assert ((found.normals * planted.truth).sum(1) > 0.9).all()  # and so plus is less deprived


def test_nothing_is_found_where_nothing_is_planted(plant):
    for axis in fit(plant(strength=0.0)).axes:
        random, blocks = evaluate(axis.case, BoundarySettings(permutations=19, bootstraps=100), 1)["rows"]
        assert 0.35 < random["auc"] < 0.65
        assert 0.35 < blocks["auc"] < 0.65
        assert blocks["p"] > 0.05


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


def test_the_files(done):
    out, _ = done
    assert sorted(p.name for p in out.iterdir()) == [
        "boundaries.safetensors",
        "report.json",
        "stage.json",
        "table1.csv",
    ]
    report = json.loads((out / "report.json").read_text())
    assert report["methods"] == ["projector"]
    assert report["references"] == ["features", "colour"]
    assert report["axes"] == ["health", "income", "education"]
    assert report["dataset"] == {"photographs": 180, "areas": 60, "blocks": 15, "local_only": False}
    cells = [(r["method"], r["axis"], r["protocol"]) for r in report["table1"]]
    assert cells == [
        (m, a, p) for m in ("projector", "features", "colour") for a in report["axes"] for p in ("random", "blocks")
    ]
    for row in report["table1"]:
        for name in ("precision", "recall", "f1", "auc"):
            low, high = row[f"{name}_interval"]
            assert low <= row[name] <= high
        assert row["folds"] == 5
        assert ("p" in row) == (row["protocol"] == "blocks")
        if row["method"] == "projector":
            assert row["auc"] > 0.7
            f1 = 2 * row["precision"] * row["recall"] / (row["precision"] + row["recall"])
            assert row["f1"] == pytest.approx(f1, abs=1e-5)
        elif row["axis"] == "income":  # the pictures are of two colours, which say which half of incomes they are of
            assert row["auc"] == 1
        else:
            assert row["auc"] < 1
    assert "changes F1 by" in report["leakage_line"]
    found = read_boundaries(out / "boundaries.safetensors", "projector")
    np.testing.assert_allclose(report["cosines"]["projector"], found.normals @ found.normals.T, atol=1e-6)
    np.testing.assert_allclose(report["retained"]["projector"], found.retained, atol=1e-6)
    np.testing.assert_allclose(report["survives"]["projector"], found.retained, atol=1e-6)
    np.testing.assert_allclose(report["walk_length"]["projector"], 24 * step_sizes(found, 12), atol=1e-5)
    assert (found.space, found.num_ws, found.w_dim, found.kind) == ("w", 4, 16, "orthogonal")
    assert list(found.warnings) == report["warnings"]


def test_units_rise_and_have_intervals(done):
    report = json.loads((done[0] / "report.json").read_text())
    for curve in report["units"]["projector"].values():
        assert curve["at"][0] == -1
        assert curve["at"][-1] == 1
        for low, middle, high in zip(curve["low"], curve["percentile"], curve["high"], strict=True):
            assert 0 <= low <= middle <= high <= 1
        assert curve["percentile"] == sorted(curve["percentile"])
        assert curve["percentile"][-1] - curve["percentile"][0] > 0.3


def test_the_spread_of_the_directions(done):
    spread = json.loads((done[0] / "report.json").read_text())["spread"]["projector"]
    for median, most in spread["angle"]:
        assert 0 < median <= most < 90
    for median, most in spread["walk_angle"]:
        assert 0 < median <= most < 90
    assert spread["retained"] == spread["survives"]  # of orthogonal directions
    for i in range(3):
        assert spread["cosines"][i][i] == [1, 1]
        assert 0 <= spread["survives"][i][0] <= spread["survives"][i][1] <= 1


def test_the_papers_rows_stand_beside(done):
    out, _ = done
    report = json.loads((out / "report.json").read_text())
    assert len(report["paper_table1"]) == 9
    for row in report["paper_table1"]:  # the paper's F1 follow from its precision and recall
        f1 = 2 * row["precision"] * row["recall"] / (row["precision"] + row["recall"])
        assert row["f1"] == pytest.approx(f1, abs=0.002)
    rows = list(csv.DictReader((out / "table1.csv").open()))
    assert len(rows) == 18 + 9
    assert [row["protocol"] for row in rows[:3]] == ["random", "blocks", "random"]
    assert rows[18] | {"method": "E4E", "axis": "income", "f1": "0.756", "n": ""} == rows[18]


def test_the_same_seed_gives_the_same_bytes(done, few, tmp_path):
    out, _ = done
    assert run(few.latents, few.data, tmp_path / "again").exit_code == 0
    for name in ("boundaries.safetensors", "report.json", "table1.csv"):
        assert (tmp_path / "again" / name).read_bytes() == (out / name).read_bytes()
    assert run(few.latents, few.data, tmp_path / "other", "--seed", "2").exit_code == 0
    assert (tmp_path / "other" / "report.json").read_bytes() != (out / "report.json").read_bytes()


def test_the_table_is_printed_or_the_report_as_json(done, few):
    out, result = done
    head, *rows = result.stdout.splitlines()
    assert head.split()[:3] == ["axis", "method", "split"]
    assert [line.split()[0] for line in rows[:6:2]] == ["health", "income", "education"]
    as_json = run(few.latents, few.data, out, "--json")
    assert json.loads(as_json.stdout) == json.loads((out / "report.json").read_text())
    assert "up to date" in as_json.stderr


def test_several_methods_stand_side_by_side(few, tmp_path):
    every = read_latents(few.latents)
    rows = np.arange(0, 180, 2)
    noisy = every.w[rows] + np.random.default_rng(0).standard_normal(every.w[rows].shape).astype(np.float32)
    other = Latents(noisy, tuple(every.files[i] for i in rows))
    write_latents(tmp_path / "e4e.safetensors", other, {"method": "e4e"})
    result = run(few.latents, few.data, tmp_path / "out", "--latents", str(tmp_path / "e4e.safetensors"))
    assert result.exit_code == 0, result.output
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["methods"] == ["projector", "e4e"]
    assert report["space"] == {"projector": "w", "e4e": "w+"}
    assert read_boundaries(tmp_path / "out" / "boundaries.safetensors", "e4e").normals.shape == (3, 64)
    assert report["references"] == ["features", "colour"]
    own = {(r["method"], r["axis"], r["protocol"]): r for r in report["table1"] if "photographs_of" not in r}
    beside = [r for r in report["table1"] if "photographs_of" in r]
    assert {tuple(r["photographs_of"]) for r in beside} == {("projector",), ("e4e",)}
    assert len(beside) == 2 * len(own) == 24
    for row in beside:  # of the very same photographs, split in the same way
        mine = own[(*row["photographs_of"], row["axis"], row["protocol"])]
        assert all(row[k] == mine[k] for k in ("n", "n_train", "left_out_near", "areas", "blocks", "folds"))
    assert own["projector", "health", "blocks"]["n"] > own["e4e", "health", "blocks"]["n"]
    assert any("features of e4e" in line for line in result.stdout.splitlines())
    assert list(csv.DictReader((tmp_path / "out" / "table1.csv").open()))[-10]["photographs_of"] == "e4e"
    refused(run(few.latents, few.data, tmp_path / "two", "--latents", str(few.latents)), "which another file does too")


def test_a_killed_run_goes_on_with_what_was_done(done, few, tmp_path):
    script = "from atlas.cli import main; main()"
    command = ["boundaries", "--latents", str(few.latents), "--data", str(few.data), "--out", str(tmp_path)]
    env = {**os.environ, "ATLAS_FAULT": "boundaries.part:3"}
    killed = subprocess.run([sys.executable, "-c", script, *command, *QUICK], env=env, check=False)
    assert killed.returncode == -signal.SIGKILL
    parts = sorted((tmp_path / "evidence.parts").iterdir())
    assert [p.name for p in parts] == [f"projector-{axis}.json" for axis in ("education", "health", "income")]
    assert run(few.latents, few.data, tmp_path).exit_code == 0
    for name in ("boundaries.safetensors", "report.json", "table1.csv"):
        assert (tmp_path / name).read_bytes() == (done[0] / name).read_bytes()
    assert not (tmp_path / "evidence.parts").exists()


def test_photographs_may_be_fewer_than_the_datasets(few, tmp_path):
    every = read_latents(few.latents)
    rows = np.arange(0, 180, 2)
    some = Latents(every.w[rows], tuple(every.files[i] for i in rows))
    write_latents(tmp_path / "projector.safetensors", some)
    assert run(tmp_path / "projector.safetensors", few.data, tmp_path / "out", "--c", "0.25").exit_code == 0
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert sum(report["classes"]["projector"]["health"][k] for k in ("most_deprived", "least_deprived")) < 90
    for row in report["table1"]:  # a C that was set for the codes is none for the features and colours beside them
        assert (row["c"] == [0.25] * 5) == (row["method"] == "projector")


def test_partial_directions_move_what_was_planted(plant):
    planted = plant(areas=800, per_area=3, noise=0.5)
    found = fit(planted, c=0.01, directions="partial").boundaries
    # Codes move along the pseudo-inverse of the truth where one percentile changes alone.
    pattern = np.linalg.pinv(planted.truth).T
    pattern /= np.linalg.norm(pattern, axis=1, keepdims=True)
    assert ((found.directions * pattern).sum(1) > 0.97).all()
    np.testing.assert_allclose((found.directions * found.normals).sum(1), found.retained)
    assert found.kind == "partial"
    places = read_latents(planted.latents).w[:, 0] @ found.directions.T
    low, high = np.percentile(places, [5, 95], axis=0)
    np.testing.assert_allclose(found.walk_length, high - low, rtol=1e-5)
    np.testing.assert_allclose(found.walk_score, (high - low) * found.retained, rtol=1e-5)


def test_the_spread_of_partial_directions_is_their_own_and_shrinks_with_more_places(plant):
    few, many = (fit(plant(areas=areas, per_area=3), c=0.01, directions="partial") for areas in (60, 600))
    spreads = [direction_spread(found, 1) for found in (few, many)]
    turns = np.array([spread["walk_angle"] for spread in spreads])  # [streets, axes, (median, 97.5th)]
    assert (turns[..., 0] < turns[..., 1]).all()
    assert (turns[1] < 0.5 * turns[0]).all()  # as one over the square root of ten
    assert (turns[0, :, 0] > 2).all()
    assert spreads[0]["walk_angle"] != spreads[0]["angle"]
    for spread, found in zip(spreads, (few, many), strict=True):
        for (low, high), own in zip(spread["retained"], found.boundaries.retained, strict=True):
            assert low <= own <= high


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


def test_too_few_blocks(plant, tmp_path):
    small = plant(areas=24, per_area=10)  # in 6 blocks
    refused(
        run(small.latents, small.data, tmp_path / "out", "--folds", "7"), "blocks of 1 km in its extremes and 7 folds"
    )


def test_areas_of_different_percentiles(street):
    latents, dataset = read_latents(street.latents), open_dataset(street.data)
    rows = list(dataset.photos)
    rows[1] = dataclasses.replace(rows[1], percentiles=(0.1, 0.1, 0.2))
    with pytest.raises(InputError, match="has other percentiles than"):
        join(latents, dataclasses.replace(dataset, photos=tuple(rows)))


def test_a_percentile_that_is_no_number(street):
    latents, dataset = read_latents(street.latents), open_dataset(street.data)
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
    with safe_open(out / "boundaries.safetensors", framework="np") as file:
        facts = json.loads(file.metadata()["boundaries"]) | {"format": 2}
    older = {"boundaries": json.dumps(facts)}
    save_file(load_file(out / "boundaries.safetensors"), tmp_path / "older.safetensors", metadata=older)
    with pytest.raises(InputError, match="written by an older version: make it again with `atlas boundaries`"):
        read_boundaries(tmp_path / "older.safetensors", "projector")
