"""Tables of the page made from ``report.json``: what a step means, what a walk moves and changes, what was planted."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from atlas.grid import AXES

_LOOKS = {
    "vegetation": "Vegetation, % of the picture",
    "sky": "Sky, % of the upper half",
    "brightness": "Brightness, %",
    "saturation": "Saturation, %",
    "edges": "Edges, % of the picture",
}
_HUES = (
    *("red", "orange", "yellow", "yellow-green", "green", "sea green"),
    *("cyan", "sky blue", "blue", "violet", "magenta", "rose"),
)  # every 30°
_SHOWN_HUES = 4
_TO = "\u00a0to\u00a0"  # an interval breaks from its value where a table is narrow, and not within
_KINDS = {
    "orthogonal": "Others’ scores held",
    "partial": "Others’ percentiles held",
    "raw": "Each classifier’s own direction",
    "shuffled": "Labels shuffled over areas",
    "random": "Random",
    "ideal": "Ideal: knows the attributes",
}


@dataclass(frozen=True)
class Table:
    """A table as text: its first column names the rows."""

    caption: str
    note: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def tables(report: Mapping[str, Any], method: str, steps: int) -> Iterator[Table]:
    """Yield the tables that the report has the numbers for.

    Args:
        report: ``report.json``.
        method: whose directions the atlas was rendered with.
        steps: of the grid, to each side.

    Raises:
        KeyError, TypeError, ValueError: the report is not as it should be.
    """
    walked = str(report.get("directions", {}).get(method, "orthogonal"))
    makers: tuple[tuple[str, Callable[[Mapping[str, Any], int], Table]], ...] = (
        ("units", _units),
        ("moves", _moves),
        ("changes", _changes),
        ("changes", _usual),
        ("validation", lambda found, _: _validation(found, walked)),
    )
    for section, make in makers:
        found = report.get(section, {}).get(method)
        if found is not None:
            yield make(found, steps)


def _units(found: Mapping[str, Any], steps: int) -> Table:
    shown = sorted({-steps, -(steps // 2), 0, steps // 2, steps})
    rows = []
    for axis in AXES:
        curve = found[axis]
        cells = [
            " ".join(
                (
                    f"{100 * _at(curve, 'percentile', k / steps):.0f}",
                    f"({100 * _at(curve, 'low', k / steps):.0f}{_TO}{100 * _at(curve, 'high', k / steps):.0f})",
                )
            )
            for k in shown
        ]
        rows.append((axis.capitalize(), *cells))
    return Table(
        caption="What a step says",
        note="Photographs whose score is so many steps from the middle one’s come from areas that stand, on average, "
        "at this percentile of the measure (95 % interval), 0 being the most deprived area and 100 the least. Where "
        "the numbers of a row hardly differ, a step says little about a place.",
        columns=("Measure", *(_signed(k) for k in shown)),
        rows=tuple(rows),
    )


def _moves(found: Mapping[str, Any], steps: int) -> Table:
    return Table(
        caption="Which scores a whole walk moves, measured",
        note=f"The ends of the walks of {int(found['bases'])} streets were drawn, the drawings studied as if they were "
        "photographs, and scored by classifiers that had no part in making the directions. 1 is the span of the "
        "photographs’ own scores; in brackets the 95 % interval over streets.",
        columns=("Slider", *(f"{axis} score" for axis in AXES)),
        rows=tuple(
            (axis.capitalize(), *(_interval(cell) for cell in row))
            for axis, row in zip(AXES, found["measured"], strict=True)
        ),
    )


def _changes(found: Mapping[str, Any], steps: int) -> Table:
    rows = []
    for look, words in {**_LOOKS, **_main_hues(found["axes"])}.items():
        cells = []
        for axis in AXES:
            each = found["axes"][axis][look]
            cells.append(_interval([100 * float(v) for v in (each["change"], *each["interval"])], digits=1))
        rows.append((words, *cells))
    return Table(
        caption="What changes in the pictures from −" + str(steps) + " to +" + str(steps),
        note=f"Measured by plain rules in the pictures of {int(found['bases'])} streets, in percentage points; in "
        f"brackets the 95 % interval over streets. Of the {len(_HUES)} hues those that change most are shown; all are "
        "among the numbers below. This describes the pictures. It does not say why.",
        columns=("In the picture", *(axis.capitalize() for axis in AXES)),
        rows=tuple(rows),
    )


def _main_hues(axes: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Return the hues that change most along any axis, in the order of the circle, with what the page calls them."""
    names = {f"hue {30 * k}": f"Hue {name}, % of the colour" for k, name in enumerate(_HUES)}
    told = [look for look in names if all(look in axes[axis] for axis in AXES)]
    most = {look: max(abs(float(axes[axis][look]["change"])) for axis in AXES) for look in told}
    main = sorted(told, key=lambda look: -most[look])[:_SHOWN_HUES]
    return {look: words for look, words in names.items() if look in main}


def _usual(found: Mapping[str, Any], steps: int) -> Table:
    places = [steps * float(at) for at in found["at"]]
    return Table(
        caption="How usual the pictures are along the way",
        note="The share of the network’s own drawings that lie farther from its usual ones than a picture so many "
        "steps along a slider, on average over streets: 1 is as usual as can be, 0 is nothing that it has drawn by "
        "itself. Where it comes near 0, a slider shows what the network makes up.",
        columns=("Slider", *(f"{place:+g}".replace("-", "−") if place else "0" for place in places)),
        rows=tuple(
            (axis.capitalize(), *(f"{float(share):.2f}" for share in found["typicality"][axis])) for axis in AXES
        ),
    )


def _validation(found: Mapping[str, Any], walked: str) -> Table:
    """Make the table; ``walked`` is the kind of direction that the sliders walk."""
    rows = []
    for kind, words in _KINDS.items():
        if kind not in found["kinds"]:
            continue
        each = found["kinds"][kind]
        words += " (the sliders)" if kind == walked else ""
        for axis, row, times in zip(AXES, each["table"], each["times"], strict=True):
            rows.append((f"{words}: {axis}", *(_interval(cell) for cell in row), f"{float(times):.1f}"))
    names = [str(name).replace("_", " ") for name in found["attributes"]]
    reached = found["kinds"][walked]["reached"]
    verdict = "is reached" if reached else "is not reached"
    return Table(
        caption="What was planted, and what the walks move",
        note="In these drawn streets "
        + ", ".join(f"{axis} moves the {name}" for axis, name in zip(AXES, names, strict=True))
        + f", and nothing else. How far a whole walk moves each attribute in {int(found['bases'])} streets, in "
        "standard deviations of the photographs (95 % interval; for shuffled and random ones, of 95 % of the draws), "
        "and how many times as much its own moves as any other. Classifiers of measures that overlap lean on each "
        "other’s signs; a slider that holds the two other scores has to move these signs the other way. "
        f"The bar, {float(found['bar']):.0f} times, {verdict} by the sliders.",
        columns=("Walk", *(name.capitalize() for name in names), "Own : other"),
        rows=tuple(rows),
    )


def _at(curve: Mapping[str, Sequence[float]], name: str, place: float) -> float:
    """Interpolate a curve that is told at equal distances from −1 to 1."""
    values = [float(v) for v in curve[name]]
    if len(values) != len(curve["at"]) or len(values) < 2:
        raise ValueError(f"a curve must have as many values as places, got {len(values)} and {len(curve['at'])}")
    exact = (place + 1) / 2 * (len(values) - 1)
    left = min(int(exact), len(values) - 2)
    return values[left] + (exact - left) * (values[left + 1] - values[left])


def _interval(cell: Sequence[Any], digits: int = 2) -> str:
    mean, low, high = (float(v) for v in cell)
    return f"{_minus(mean, digits)} ({_minus(low, digits)}{_TO}{_minus(high, digits)})"


def _minus(value: float, digits: int) -> str:
    return f"{value:+.{digits}f}".replace("-", "−")


def _signed(step: int) -> str:
    return f"{step:+d}".replace("-", "−") if step else "0"
