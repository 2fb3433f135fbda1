"""``report.json`` and ``table1.csv``: every number behind the boundaries, with what it rests on."""

from __future__ import annotations

import csv
import dataclasses
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from atlas.grid import AXES
from atlas.preset import BoundarySettings
from pipeline.boundaries.blocks import MARGIN
from pipeline.boundaries.directions import cosines, surviving
from pipeline.boundaries.fitting import Fit
from pipeline.boundaries.metrics import METRICS
from pipeline.boundaries.paper import paper_rows
from pipeline.boundaries.sample import Sample

LITTLE = 0.3  # of a normal that survives, or of a walk's length that moves its own score
_DIGITS = 6
_COLUMNS = ("axis", "method", "protocol", *METRICS, *(f"{m}_{end}" for m in METRICS for end in ("low", "high")), "p")
_COUNTS = ("n", "n_train", "left_out_near", "areas", "blocks", "folds", "permutations")
_WHOSE = "photographs_of"  # last, and of references only
_SPLIT_NOTE = (
    "random: photographs dealt at random into disjoint test parts, as the paper split them (it drew one of 20 %); "
    f"blocks: whole areas, by 1 km, training photographs within {MARGIN:.0f} m of a test photograph left out. "
    "Intervals: 95 %, bootstrap over blocks, widened to hold the estimate where the draws leave it out. "
    "p: deprivation permuted over areas, refitted; the statistic is the AUC."
)


@dataclass(frozen=True)
class Cells:
    """What `evaluate` found of every axis in one representation of the photographs.

    Attributes:
        name: the method of inversion, or the reference.
        found: in the order of `AXES`.
        photographs_of: of a reference, the methods whose very photographs these are; () for a method's own.
    """

    name: str
    found: Sequence[Mapping[str, Any]]
    photographs_of: tuple[str, ...] = ()

    @property
    def about(self) -> dict[str, Any]:
        """Return what every row of these cells says of them."""
        return {"method": self.name} | ({"photographs_of": list(self.photographs_of)} if self.photographs_of else {})


def method_report(fit: Fit) -> dict[str, Any]:
    """Return what is said of one method's boundaries, JSON-able, by section of the report."""
    b = fit.boundaries
    return {
        "classes": classes([each.sample for each in fit.axes]),
        "space": b.space,
        "directions": b.kind,
        "c": {axis: each.machine.c for axis, each in zip(AXES, fit.axes, strict=True)},
        "cosines": plain(cosines(b.normals)),
        "survives": plain(surviving(b.normals)),
        "retained": plain(b.retained),
        "score_span": plain(b.score_span),
        "place_span": plain(b.place_span),
        "walk_length": plain(b.walk_length),
    }


def build_report(
    methods: Mapping[str, Mapping[str, Any]],
    cells: Sequence[Cells],
    dataset: Mapping[str, Any],
    settings: BoundarySettings,
    seed: int,
) -> dict[str, Any]:
    """Return the whole report as JSON-able values.

    Args:
        methods: per inversion method its sections (`method_report`, and what else was measured).
        cells: of each representation: methods, then references.
        dataset: what the report says of the photographs.
        settings: as they were fitted.
        seed: likewise.
    """
    rows = [{**each.about, **row} for each in cells for cell in each.found for row in cell["rows"]]
    leakage = [
        {**each.about, "axis": axis, **cell["leakage"]}
        for each in cells
        for axis, cell in zip(AXES, each.found, strict=True)
    ]
    sections = sorted({section for found in methods.values() for section in found})
    return {
        "methods": list(methods),
        "references": list(dict.fromkeys(each.name for each in cells if each.photographs_of)),
        "axes": list(AXES),
        "dataset": dict(dataset),
        "settings": {**dataclasses.asdict(settings), "seed": seed},
        "positive": "least deprived",
        "protocols": _SPLIT_NOTE,
        "table1": rows,
        "paper_table1": paper_rows(),
        "leakage": leakage,
        "leakage_line": leakage_line(leakage, list(methods)),
        **{
            section: {name: found[section] for name, found in methods.items() if section in found}
            for section in sections
        },
    }


def table1_csv(report: Mapping[str, Any]) -> str:
    """Return Table 1 as CSV: this run's rows, then the paper's."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    columns = (*_COLUMNS, *_COUNTS, _WHOSE)
    writer.writerow(columns)
    for row in report["table1"]:
        flat = dict(row)
        for metric in METRICS:
            flat[f"{metric}_low"], flat[f"{metric}_high"] = row[f"{metric}_interval"]
        flat[_WHOSE] = " ".join(row.get(_WHOSE, ()))
        writer.writerow([flat.get(name, "") for name in columns])
    for row in report["paper_table1"]:
        flat = {**row, "protocol": "paper: random split of photographs"}
        writer.writerow([flat.get(name, "") for name in columns])
    return text.getvalue()


def leakage_line(leakage: Sequence[Mapping[str, Any]], methods: Sequence[str]) -> str:
    """Return how much the random split flatters, as a sentence."""
    own = [row for row in leakage if row["method"] in methods]
    if not own:
        return ""
    mean = sum(row["f1"] for row in own) / len(own)
    widest = max(own, key=lambda row: row["f1"])
    low, high = widest["f1_interval"]
    return (
        f"Against blocks, the random split changes F1 by {_signed(mean)} on average over {len(own)} cells; the most "
        f"for {widest['axis']}, {widest['method']}: {_signed(widest['f1'])} "
        f"(95 % interval {_signed(low)} to {_signed(high)})."
    )


def _signed(value: float) -> str:
    return f"{value:+.3f}".replace("-", "−")


def classes(samples: Sequence[Sample]) -> dict[str, dict[str, int]]:
    """Return per axis how many photographs the two classes had, and how many of each were used."""
    return {
        axis: {"most_deprived": sample.found[0], "least_deprived": sample.found[1], "used_of_each": min(sample.found)}
        for axis, sample in zip(AXES, samples, strict=True)
    }


def direction_warnings(method: str, kind: str, survives: Sequence[float], retained: Sequence[float]) -> tuple[str, ...]:
    """Return a sentence for each axis of whose normal little survives, or whose walk hardly moves its own score.

    Args:
        method: for the sentence.
        kind: of the directions, "orthogonal" or "partial".
        survives: [3] what is left of each normal once the others' span is taken out.
        retained: [3] the cosine between each direction and its normal; of orthogonal ones the same.
    """
    words = []
    for axis, left, cosine in zip(AXES, survives, retained, strict=True):
        moves = f"a walk along {axis} moves its own score by only {cosine:.0%} of its length"
        if left < LITTLE:
            said = (
                f"{method}: of the normal of {axis} {left:.0%} is left once the other axes' are taken out: "
                "in these photographs the three are hardly told apart"
            )
            words.append(f"{said}, and {moves}" if cosine < LITTLE else said)
        elif cosine < LITTLE:
            words.append(f"{method}: {moves}: the {kind} direction is far from its boundary's normal")
    return tuple(words)


def chance_warnings(method: str, cells: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """Return a sentence for each axis that is not told better than chance in places that were not seen."""
    return tuple(
        f"{method}: in places that it has not seen, the boundary of {row['axis']} does no better than chance "
        f"(AUC {row['auc']:.2f}, 95 % interval {row['auc_interval'][0]:.2f} to {row['auc_interval'][1]:.2f}): "
        f"what a walk along {row['axis']} shows is not evidence of anything"
        for cell in cells
        for row in cell["rows"]
        if row["protocol"] == "blocks" and row["auc_interval"][0] <= 0.5
    )


def plain(value: Any) -> Any:
    """Return numbers as plain floats, rounded; arrays as lists."""
    if isinstance(value, np.ndarray | list | tuple):
        return [plain(v) for v in value]
    return round(float(value), _DIGITS)
