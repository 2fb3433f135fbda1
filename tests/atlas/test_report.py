"""What the page shows of the report: both protocols, references, and the tables of what walks do."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atlas.errors import InputError
from atlas.report import read_report
from atlas.report_tables import tables

AXES = ("health", "income", "education")


def row(axis, method, protocol, **more):
    scores = {
        "precision": 0.7,
        "recall": 0.6,
        "f1": 0.646,
        "auc": 0.71,
        "f1_interval": [0.58, 0.7],
        "auc_interval": [0.49, 0.78],
    }
    return {"axis": axis, "method": method, "protocol": protocol, **scores, "n": 208, "areas": 90, "folds": 5, **more}


def curve(low=0.2, high=0.8):
    at = [k / 12 for k in range(-12, 13)]
    values = [low + (high - low) * (a + 1) / 2 for a in at]
    return {
        "at": at,
        "score": at,
        "percentile": values,
        "low": [v - 0.1 for v in values],
        "high": [v + 0.1 for v in values],
    }


def report():
    cell = [0.5, 0.4, 0.6]
    kind = {"table": [[cell] * 3] * 3, "times": [5.5, 1.0, 2.0], "apart": [True] * 3, "reached": False}
    looks = {n: {"change": -0.031, "interval": [-0.05, 0.002]} for n in ("vegetation", "sky", "brightness")}
    looks |= {n: {"change": 0.0, "interval": [0.0, 0.0]} for n in ("saturation", "edges")}
    changes = (0.2, 0.01, -0.3, 0.0, 0.04, 0.0, -0.05, 0.0, 0.0, 0.0, 0.0, 0.02)
    looks |= {f"hue {30 * k}": {"change": v, "interval": [v - 0.01, v + 0.01]} for k, v in enumerate(changes)}
    angles = {"angle": [[20.4, 25.0], [21.6, 27.0], [22.0, 28.0]], "walk_angle": [[9, 12], [10, 11], [8, 9]]}
    return {
        "methods": ["projector"],
        "references": ["features", "colour"],
        "table1": [
            *(r for a in AXES for r in (row(a, "projector", "random"), row(a, "projector", "blocks", p=0.0049))),
            *(row(a, m, "blocks", p=0.2) for m in ("features", "colour") for a in AXES),
        ],
        "leakage_line": "The random split raises F1 by +0.03.",
        "survives": {"projector": [0.5, 0.3, 0.4]},
        "retained": {"projector": [0.9, 0.9, 0.9]},
        "spread": {"projector": angles},
        "units": {"projector": {axis: curve() for axis in AXES}},
        "moves": {"projector": {"bases": 12, "measured": [[cell] * 3] * 3}},
        "changes": {
            "projector": {
                "bases": 64,
                "at": [-1, -0.5, 0, 0.5, 1],
                "axes": dict.fromkeys(AXES, looks),
                "typicality": {axis: [0.01, 0.4, 0.98, 0.5, 0.0] for axis in AXES},
            }
        },
        "validation": {
            "projector": {
                "attributes": ["hedge", "door_hue", "brick_tone"],
                "bases": 64,
                "bar": 5.0,
                "kinds": {"orthogonal": kind, "random": kind},
            }
        },
    }  # fmt: skip


@pytest.fixture
def read(tmp_path):
    def go(value, steps=5):
        path = tmp_path / "report.json"
        path.write_text(json.dumps(value))
        return read_report(path, "projector", steps)

    return go


def test_both_protocols_stand_side_by_side_and_references_apart(read):
    found = read(report())
    assert [(r.axis, r.split.partition(",")[0], r.p) for r in found.rows[:2]] == [
        ("Health", "at random", ""),
        ("Health", "in blocks of 1 km", "0.005"),
    ]
    assert (found.rows[0].f1, found.rows[0].f1_interval) == ("0.65", "0.58 – 0.70")
    assert (found.rows[0].auc, found.rows[0].auc_interval) == ("0.71", "0.49 – 0.78")
    assert len(found.rows) == len(found.references) == 6
    assert {r.method for r in found.references} == {
        "Features of the photographs (EfficientNet-Lite0)",
        "Mean colour of the photographs",
    }
    assert "neighbours fall on both sides" in found.note
    assert found.leakage == "The random split raises F1 by +0.03."
    assert found.retained == "health 50%, income 30%, education 40%"
    assert "classifiers’ directions turn by health 20° (25°), income 22° (27°), education 22° (28°);" in found.spread
    assert "of the sliders by health 9° (12°), income 10° (11°), education 8° (9°) (the middle" in found.spread


def test_references_say_whose_photographs_they_were_tried_on_where_these_differ(read):
    value = report()
    value["table1"] = [
        row("health", "projector", "blocks", n=40),
        row("health", "e4e", "blocks", n=208),
        row("health", "colour", "blocks", n=40, photographs_of=["projector"]),
        row("health", "colour", "blocks", n=208, photographs_of=["e4e", "restyle"]),
    ]
    assert [(r.method, r.n) for r in read(value).references] == [
        ("Mean colour of the photographs, those of Projector", "40"),
        ("Mean colour of the photographs, those of e4e and ReStyle", "208"),
    ]
    value["table1"].pop()
    assert [r.method for r in read(value).references] == ["Mean colour of the photographs"]


def test_the_tables(read):
    found = {table.caption: table for table in read(report()).tables}
    assert list(found) == [
        "What a step says",
        "Which scores a whole walk moves, measured",
        "What changes in the pictures from −5 to +5",
        "How usual the pictures are along the way",
        "What was planted, and what the walks move",
    ]
    usual = found["How usual the pictures are along the way"]
    assert usual.columns == ("Slider", "−5", "−2.5", "0", "+2.5", "+5")
    assert usual.rows[0] == ("Health", "0.01", "0.40", "0.98", "0.50", "0.00")
    units = found["What a step says"]
    assert units.columns == ("Measure", "−5", "−2", "0", "+2", "+5")
    assert units.rows[0] == (
        "Health",
        "20 (10\u00a0to\u00a030)",
        "38 (28\u00a0to\u00a048)",
        "50 (40\u00a0to\u00a060)",
        "62 (52\u00a0to\u00a072)",
        "80 (70\u00a0to\u00a090)",
    )
    changes = found["What changes in the pictures from −5 to +5"]
    assert changes.rows[0] == ("Vegetation, % of the picture", *(["−3.1 (−5.0\u00a0to\u00a0+0.2)"] * 3))
    assert [r[0] for r in changes.rows[5:]] == [
        f"Hue {name}, % of the colour" for name in ("red", "yellow", "green", "cyan")
    ]
    assert changes.rows[6][1] == "−30.0 (−31.0\u00a0to\u00a0−29.0)"
    assert "It does not say why" in changes.note
    validation = found["What was planted, and what the walks move"]
    assert validation.rows[0] == (
        "Others’ scores held (the sliders): health", *(["+0.50 (+0.40\u00a0to\u00a0+0.60)"] * 3), "5.5",
    )  # fmt: skip
    assert "is not reached" in validation.note
    assert all(len(r) == len(t.columns) for t in found.values() for r in t.rows)


def test_the_sliders_are_named_among_the_kinds(read):
    value = report() | {"directions": {"projector": "partial"}}
    kinds = value["validation"]["projector"]["kinds"]
    kinds["partial"] = {**kinds["orthogonal"], "reached": True}
    found = read(value)
    assert found.partial
    table = found.tables[-1]
    assert "is reached by the sliders" in table.note
    assert [r[0] for r in table.rows[:4:3]] == [
        "Others’ scores held: health",
        "Others’ percentiles held (the sliders): health",
    ]


def test_a_hue_counts_by_the_axis_that_changes_it_most(read):
    value = report()
    axes = json.loads(json.dumps(value["changes"]["projector"]["axes"]))  # of each axis its own looks
    axes["education"]["hue 330"]["change"] = -0.9
    value["changes"]["projector"]["axes"] = axes
    (table,) = [t for t in read(value).tables if t.caption.startswith("What changes")]
    assert table.rows[-1][0] == "Hue rose, % of the colour"
    assert table.rows[-1][3].startswith("−90.0")


def test_a_report_without_hues_is_shown_without(read):
    value = report()
    axes = value["changes"]["projector"]["axes"]
    kept = {a: {n: v for n, v in axes[a].items() if not n.startswith("hue")} for a in AXES}
    value["changes"]["projector"]["axes"] = kept
    (table,) = [t for t in read(value).tables if t.caption.startswith("What changes")]
    assert len(table.rows) == 5


def test_what_is_not_reported_is_not_shown(read):
    value = {"methods": ["projector"], "table1": [row("health", "projector", "area")]}
    found = read(value)
    assert found.tables == found.references == ()
    assert found.leakage == found.spread == ""
    assert "never seen" in found.note


@given(st.integers(1, 50))
def test_steps_of_any_grid_are_read_off_the_curve(steps):
    (table, *_) = tables(report(), "projector", steps)
    assert table.columns[1].endswith(str(steps))
    assert table.rows[0][1].startswith("20 ")
    assert table.rows[0][-1].startswith("80 ")


@pytest.mark.parametrize(
    "change",
    [
        lambda r: r["units"]["projector"]["health"]["percentile"].pop(),
        lambda r: r["moves"]["projector"]["measured"][0][0].pop(),
        lambda r: r["changes"]["projector"]["axes"].pop("health"),
        lambda r: r["validation"]["projector"]["kinds"]["random"].update(times=["many"] * 3),
        lambda r: r["validation"]["projector"]["kinds"].pop("orthogonal"),
        lambda r: r["spread"]["projector"].update(angle=[[1]]),
    ],
)
def test_tables_that_cannot_be_read_are_refused(read, change):
    value = report()
    change(value)
    with pytest.raises(InputError, match=r"not a report of boundaries|is missing: make it again"):
        read(value)
