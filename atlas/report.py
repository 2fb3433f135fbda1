"""What the page shows of ``report.json``, the numbers that the boundaries rest on; read strictly, as foreign data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from atlas.errors import InputError
from atlas.files import read_json
from atlas.grid import AXES
from atlas.report_tables import Table, tables

_METHODS = {
    "projector": "Projector",
    "e4e": "e4e",
    "restyle": "ReStyle",
    "features": "Features of the photographs (EfficientNet-Lite0)",
    "colour": "Mean colour of the photographs",
}
_PROTOCOLS = {"area": "by area", "blocks": "in blocks of 1 km", "random": "at random"}


@dataclass(frozen=True)
class Row:
    """A row of a table, as text."""

    axis: str
    method: str
    precision: str
    recall: str
    f1: str
    f1_interval: str = ""
    auc: str = ""
    auc_interval: str = ""
    n: str = ""
    split: str = ""
    p: str = ""


@dataclass(frozen=True)
class Evidence:
    """The section "Can the measures be read from the pictures?".

    Attributes:
        rows: this atlas's table.
        paper: the original work's table.
        retained: what each direction keeps of its normal, as text; "" if not reported.
        note: how the split was made, as a sentence.
        basis: "2,000 pictures of streets from 334 areas": what the classifiers were made and tested with; "" if not
            reported.
        warnings: what the report itself warns of, each a sentence.
        references: what the photographs themselves hold, in the same columns as ``rows``.
        leakage: how much a random split flatters, a sentence; "" if not reported.
        spread: how far directions turn when they are fitted anew, a sentence; "" if not reported.
        tables: what a step means, and what walks move and change.
        local_only: whether the photographs may not be published.
        partial: whether a slider changes a picture as it changes where one measure differs and the two others do not,
            and not so that the two other scores stay as they were.
    """

    rows: tuple[Row, ...]
    paper: tuple[Row, ...]
    retained: str
    note: str
    basis: str
    warnings: tuple[str, ...]
    references: tuple[Row, ...] = ()
    leakage: str = ""
    spread: str = ""
    tables: tuple[Table, ...] = ()
    local_only: bool = False
    partial: bool = False


def read_report(path: Path, method: str, steps: int) -> Evidence:
    """Read ``report.json`` as `atlas boundaries` writes it.

    Args:
        path: the report.
        method: the inversion method whose directions the atlas was rendered with.
        steps: of the atlas's grid, to each side.

    Raises:
        InputError: absent, not JSON, or a key that the page shows is missing or of the wrong type.
    """
    if not path.is_file():
        raise InputError(f"{path} is not there: it is written by `atlas boundaries`")
    report = read_json(path)
    try:
        references = report.get("references", [])
        beside = [row for row in report["table1"] if row["method"] in references]
        return Evidence(
            rows=tuple(_row(row) for row in report["table1"] if row["method"] not in references),
            paper=tuple(_paper_row(row) for row in report.get("paper_table1", [])),
            retained=_retained(report.get("survives", report.get("retained", {})).get(method)),
            note=_note(report["table1"]),
            basis=_basis(report.get("dataset", {})),
            warnings=tuple(str(warning) for warning in report.get("warnings", [])),
            references=tuple(_row(row, _whose(row, beside)) for row in beside),
            leakage=str(report.get("leakage_line", "")),
            spread=_spread(report.get("spread", {}).get(method)),
            tables=tuple(tables(report, method, steps)),
            local_only=report.get("dataset", {}).get("local_only", False) is True,
            partial=report.get("directions", {}).get(method) == "partial",
        )
    except KeyError as error:
        raise InputError(
            f"{path}: the key {error.args[0]!r} is missing: make it again with `atlas boundaries`"
        ) from error
    except (TypeError, ValueError, AttributeError) as error:
        raise InputError(f"{path} is not a report of boundaries: {error}") from error


def _row(row: Mapping[str, Any], whose: str = "") -> Row:
    scores = _scores(row)
    return Row(
        **scores | {"method": scores["method"] + whose},
        f1_interval=_interval(row["f1_interval"]),
        auc=_two(row["auc"]),
        auc_interval=_interval(row["auc_interval"]),
        n=_count(row["n"]),
        split=_split(row),
        p=f"{float(row['p']):.3f}" if "p" in row else "",
    )


def _whose(row: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> str:
    """Return whose photographs a reference was tried on, where methods have different ones."""
    if len({tuple(each.get("photographs_of", ())) for each in rows}) < 2:
        return ""
    return f", those of {' and '.join(_method(name) for name in row['photographs_of'])}"


def _method(name: Any) -> str:
    return _METHODS.get(str(name), str(name))


def _paper_row(row: Mapping[str, Any]) -> Row:
    return Row(**_scores(row))


def _scores(row: Mapping[str, Any]) -> dict[str, str]:
    return {
        "axis": _axis(row["axis"]),
        "method": _method(row["method"]),
        "precision": _two(row["precision"]),
        "recall": _two(row["recall"]),
        "f1": _two(row["f1"]),
    }


def _axis(axis: Any) -> str:
    if str(axis).lower() not in AXES:
        raise ValueError(f"{axis!r} is none of {', '.join(AXES)}")
    return str(axis).capitalize()


def _split(row: Mapping[str, Any]) -> str:
    protocol = str(row["protocol"])
    parts = [_PROTOCOLS.get(protocol, protocol)]
    if row.get("areas"):
        parts.append(f"{_count(row['areas'])} areas")
    if row.get("folds"):
        parts.append(f"{_count(row['folds'])} folds")
    return ", ".join(parts)


def _note(rows: Sequence[Mapping[str, Any]]) -> str:
    protocols = {row["protocol"] for row in rows}
    if protocols == {"area"}:
        return (
            "No area has pictures on both sides of the split: the test is on areas that the classifier has never seen."
        )
    if "blocks" in protocols:
        return (
            "Split “in blocks of 1 km”, the test is on places that the classifier has never seen, none of them within "
            "100 m of one that it has; split “at random”, as the original work did it, neighbours fall on both sides."
        )
    return ""


def _spread(found: Mapping[str, Any] | None) -> str:
    if found is None:
        return ""
    said = (
        f"Fitted anew to other draws of the same places, the classifiers’ directions turn by {_turns(found['angle'])}"
    )
    if "walk_angle" in found:
        said += f"; the directions of the sliders by {_turns(found['walk_angle'])}"
    return f"{said} (the middle of the draws; in brackets the 97.5th percentile)."


def _turns(angles: Any) -> str:
    return ", ".join(f"{axis} {float(a):.0f}° ({float(b):.0f}°)" for axis, (a, b) in zip(AXES, angles, strict=True))


def _retained(shares: Any) -> str:
    if shares is None:
        return ""
    return ", ".join(f"{axis} {float(share):.0%}" for axis, share in zip(AXES, shares, strict=True))


def _basis(dataset: Mapping[str, Any]) -> str:
    if not dataset.get("photographs"):
        return ""
    areas = f" from {_count(dataset['areas'])} areas" if dataset.get("areas") else ""
    return f"{_count(dataset['photographs'])} pictures of streets{areas}"


def _two(value: Any) -> str:
    number = float(value)
    if number != number:
        return "–"
    return f"{number:.2f}"


def _interval(ends: Sequence[Any]) -> str:
    low, high = ends
    return f"{_two(low)} – {_two(high)}"


def _count(value: Any) -> str:
    return f"{int(value):,}"
