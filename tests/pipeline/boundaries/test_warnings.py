"""Warnings: when there are any, what they say, and that they go where the boundaries go."""

import json

import pytest
from click.testing import CliRunner

from atlas.cli import main
from pipeline.boundaries import read_boundaries
from pipeline.boundaries.report import chance_warnings, direction_warnings


def test_enough_is_left_and_nothing_is_said():
    assert direction_warnings("e4e", "orthogonal", [0.3, 0.5, 1.0], [0.3, 0.5, 1.0]) == ()


def test_little_left_of_a_normal_is_said_plainly():
    (warning,) = direction_warnings("e4e", "orthogonal", [0.9, 0.12, 0.9], [0.9, 0.12, 0.9])
    assert warning == (
        "e4e: of the normal of income 12% is left once the other axes' are taken out: in these photographs the three "
        "are hardly told apart, and a walk along income moves its own score by only 12% of its length"
    )


def test_a_partial_walk_moves_its_score_by_what_it_retains_and_not_by_what_survives():
    (warning,) = direction_warnings("e4e", "partial", [0.12, 0.9, 0.9], [0.65, 0.7, 0.7])
    assert "12% is left once the other axes' are taken out" in warning
    assert warning.endswith("the three are hardly told apart")
    (warning,) = direction_warnings("e4e", "partial", [0.9, 0.12, 0.9], [0.9, 0.21, 0.9])
    assert "12% is left" in warning
    assert warning.endswith("moves its own score by only 21% of its length")
    (warning,) = direction_warnings("e4e", "partial", [0.9, 0.9, 0.9], [0.9, 0.9, 0.04])
    assert warning == (
        "e4e: a walk along education moves its own score by only 4% of its length: "
        "the partial direction is far from its boundary's normal"
    )


def cell(axis, protocol, auc, low):
    return {"axis": axis, "protocol": protocol, "auc": auc, "auc_interval": [low, 0.8]}


def test_only_the_honest_protocol_is_held_against_chance():
    cells = [
        {"rows": [cell("health", "random", 0.7, 0.4), cell("health", "blocks", 0.62, 0.501)]},
        {"rows": [cell("income", "random", 0.9, 0.8), cell("income", "blocks", 0.54, 0.5)]},
        {"rows": [cell("education", "random", 0.7, 0.6), cell("education", "blocks", 0.48, 0.4)]},
    ]
    income, education = chance_warnings("projector", cells)
    assert income == (
        "projector: in places that it has not seen, the boundary of income does no better than chance "
        "(AUC 0.54, 95 % interval 0.50 to 0.80): what a walk along income shows is not evidence of anything"
    )
    assert "AUC 0.48, 95 % interval 0.40 to 0.80" in education


@pytest.mark.parametrize("strength", [0.0, 3.0])
def test_warnings_are_in_report_and_boundaries_where_nothing_was_planted(plant, tmp_path, strength):
    planted = plant(areas=60, per_area=3, strength=strength, licence="CC0-1.0" if strength else "")
    command = ["boundaries", "--latents", str(planted.latents), "--data", str(planted.data), "--out", str(tmp_path)]
    result = CliRunner().invoke(main, [*command, "--permutations", "0", "--bootstraps", "100", "--c", "0.01"])
    assert result.exit_code == 0, result.output
    report = json.loads((tmp_path / "report.json").read_text())
    chance = [w for w in report["warnings"] if "no better than chance" in w]
    assert bool(chance) == (strength == 0)
    honest = [r for r in report["table1"] if (r["method"], r["protocol"]) == ("projector", "blocks")]
    assert len(chance) == sum(row["auc_interval"][0] <= 0.5 for row in honest)
    found = read_boundaries(tmp_path / "boundaries.safetensors", "projector").warnings
    assert found == tuple(report["warnings"])
    assert all(warning in result.stderr for warning in found)
    assert report["dataset"]["local_only"] == ("are not to be published" in result.stderr) == (strength == 0)
