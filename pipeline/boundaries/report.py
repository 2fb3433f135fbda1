"""``report.json`` and ``table1.csv``: every number behind the boundaries, with what it rests on."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from atlas.grid import AXES
from atlas.preset import BoundarySettings
from pipeline.boundaries.directions import cosines
from pipeline.boundaries.fitting import Fit
from pipeline.boundaries.paper import paper_rows

LITTLE = 0.3  # of a normal that survives; below it a walk moves its own score by less than a third of its length
_DIGITS = 6
_COLUMNS = ("axis", "method", "protocol", "precision", "recall", "f1", "f1_low", "f1_high", "auc")
_COUNTS = ("n", "n_train", "areas", "folds")


def build_report(
    fits: Sequence[Fit], settings: BoundarySettings, seed: int, inversions: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    """Return the report as JSON-able values.

    Args:
        fits: one per inversion method.
        settings: as they were fitted.
        seed: likewise.
        inversions: per method, what its latents say of how they were made.
    """
    by_method = {fit.boundaries.method: fit for fit in fits}
    first = fits[0]
    return {
        "methods": list(by_method),
        "axes": list(AXES),
        "dataset": {"photographs": first.photographs, "areas": first.areas},
        "settings": {"fifth": settings.fifth, "c": settings.c, "folds": settings.folds, "seed": seed},
        "positive": "least deprived",
        "classes": {name: _classes(fit) for name, fit in by_method.items()},
        "table1": [row for fit in fits for row in _rows(fit)],
        "paper_table1": paper_rows(),
        "space": {name: fit.boundaries.space for name, fit in by_method.items()},
        "cosines": {name: _plain(cosines(fit.boundaries.normals)) for name, fit in by_method.items()},
        "retained": {name: _plain(fit.boundaries.retained) for name, fit in by_method.items()},
        "score_span": {name: _plain(fit.boundaries.score_span) for name, fit in by_method.items()},
        "walk_length": {name: _plain(fit.boundaries.walk_length) for name, fit in by_method.items()},
        "inversion": {name: dict(facts) for name, facts in inversions.items()},
        "warnings": [warning for fit in fits for warning in _warnings(fit)],
    }


def table1_csv(report: Mapping[str, Any]) -> str:
    """Return Table 1 as CSV: this run's rows, then the paper's."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow((*_COLUMNS, *_COUNTS))
    for row in report["table1"]:
        low, high = row["f1_interval"]
        flat = {**row, "f1_low": low, "f1_high": high}
        writer.writerow([flat[name] for name in (*_COLUMNS, *_COUNTS)])
    for row in report["paper_table1"]:
        flat = {**row, "protocol": "paper: random split of photographs"}
        writer.writerow([flat.get(name, "") for name in (*_COLUMNS, *_COUNTS)])
    return text.getvalue()


def _rows(fit: Fit) -> list[dict[str, Any]]:
    return [
        {
            "axis": axis,
            "method": fit.boundaries.method,
            "protocol": "area",
            "precision": _plain(e.precision),
            "recall": _plain(e.recall),
            "f1": _plain(e.f1),
            "auc": _plain(e.auc),
            "f1_interval": _plain(e.f1_interval),
            "n": e.n,
            "n_train": e.n_train,
            "areas": e.areas,
            "folds": e.folds,
        }
        for axis, e in zip(AXES, fit.evaluations, strict=True)
    ]


def _classes(fit: Fit) -> dict[str, dict[str, int]]:
    """Return per axis how many photographs the two classes had, and how many of each were used."""
    return {
        axis: {"most_deprived": sample.found[0], "least_deprived": sample.found[1], "used_of_each": min(sample.found)}
        for axis, sample in zip(AXES, fit.samples, strict=True)
    }


def _warnings(fit: Fit) -> list[str]:
    return [
        f"{fit.boundaries.method}: of the normal of {axis} {left:.0%} is left once the other axes' are taken out, "
        f"so a walk along {axis} moves its own score by only that share of its length: "
        "in these photographs the three are hardly told apart"
        for axis, left in zip(AXES, fit.boundaries.retained, strict=True)
        if left < LITTLE
    ]


def _plain(value: Any) -> Any:
    """Return numbers as plain floats, rounded; arrays as lists."""
    if isinstance(value, np.ndarray | list | tuple):
        return [_plain(v) for v in value]
    return round(float(value), _DIGITS)
