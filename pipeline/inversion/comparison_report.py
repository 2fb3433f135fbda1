"""``comparison.json``: what each method keeps and loses, every number with what it rests on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from pipeline.inversion.comparison import BASELINE, PHOTOGRAPH, Comparison
from pipeline.inversion.finders import DISPLAY_NAMES
from pipeline.inversion.intervals import DRAWS, Blocks, Estimate
from pipeline.photos.calibration.attributes import PLANTED

FORMAT = 1
BETTER = {"l2": "lower", "perceptual": "lower", "ssim": "higher", "psnr": "higher"}
"""Measure of an image → which end is better."""

_DIGITS = 6


def build_report(found: Comparison, seed: int) -> dict[str, Any]:
    """Return the comparison as JSON-able values.

    Args:
        found: what was measured.
        seed: of the bootstrap over blocks.

    Returns:
        ``n``, ``blocks``, ``held_out``; ``methods``, by method (``w_avg``, the mean code's image, last) and measure
        {value, interval, n}; where better than ``w_avg`` can be asked also ``gain``, the mean difference per
        photograph, positive where better, with its interval, and ``better``, the share of photographs; ``attributes``
        by planted attribute and method, r between its measurements in image and photograph ({} where the dataset has
        no known attributes). An estimate that cannot be formed is null.
    """
    blocks = Blocks(found.blocks, seed)
    baseline = found.values[BASELINE]
    return {
        "format": FORMAT,
        "n": len(found.files),
        "blocks": blocks.count,
        "held_out": found.held_out,
        "intervals": f"95 %, bootstrap over blocks of 1 km, {DRAWS} draws",
        "perceptual": found.perceptual,
        "better": BETTER,
        "methods": {method: _entry(values, baseline, blocks) for method, values in found.values.items()},
        "own_codes": dict(zip(("median_distance", "distance_95"), map(_round, found.own_distances), strict=True)),
        "attributes": {name: _correlations(name, found, blocks) for name in (PLANTED if found.attributes else ())},
        "facts": found.facts,
        "seed": seed,
        "files": list(found.files),
    }


def table_lines(report: Mapping[str, Any], seconds: Mapping[str, float]) -> list[str]:
    """Return the comparison as lines of text; ``seconds`` per photograph by method, where they are known."""
    whose = "that no encoder is trained on" if report["held_out"] else "(none is held out from the encoders)"
    attributes = report["attributes"]
    lines = [
        f"{report['n']} photographs of {report['blocks']} blocks {whose}",
        f"{'method':<11}{'L2':>8}{'percept.':>10}{'SSIM':>8}{'PSNR':>8}{'distance':>10}{'s/photo':>9}"
        + "".join(f"{'r ' + name:>14}" for name in attributes),
    ]
    for method, entry in report["methods"].items():
        took = f"{seconds[method]:.3g}" if method in seconds else "–"
        cells = [f"{entry[name]['value']:>{width}.3f}" for name, width in (("l2", 8), ("perceptual", 10), ("ssim", 8))]
        cells += [f"{entry['psnr']['value']:>8.2f}", f"{entry['distance']['value']:>10.2f}", f"{took:>9}"]
        cells += [f"{_shown(by_method.get(method)):>14}" for by_method in attributes.values()]
        lines.append(f"{DISPLAY_NAMES.get(method, method):<11}" + "".join(cells))
    return lines


def _shown(entry: Mapping[str, Any] | None) -> str:
    return "–" if entry is None or entry["value"] is None else f"{entry['value']:.3f}"


def _entry(
    values: Mapping[str, np.ndarray], baseline: Mapping[str, np.ndarray], blocks: Blocks
) -> dict[str, dict[str, Any]]:
    entry = {}
    for name, each in values.items():
        entry[name] = _plain(blocks.mean(each), len(each))
        if name in BETTER and values is not baseline:
            gain = (each - baseline[name]) * (1 if BETTER[name] == "higher" else -1)
            entry[name] |= {"gain": _plain(blocks.mean(gain), len(gain)), "better": _round(float((gain > 0).mean()))}
    return entry


def _correlations(name: str, found: Comparison, blocks: Blocks) -> dict[str, dict[str, Any]]:
    """Return r of one attribute between photograph and image, by method."""
    in_photographs = found.attributes[PHOTOGRAPH][name]
    return {
        method: _plain(blocks.correlation(in_photographs, measured[name]), len(in_photographs))
        for method, measured in found.attributes.items()
        if method != PHOTOGRAPH
    }


def _plain(estimate: Estimate, n: int) -> dict[str, Any]:
    interval = None if estimate.interval is None else [_round(edge) for edge in estimate.interval]
    return {"value": None if estimate.value is None else _round(estimate.value), "interval": interval, "n": n}


def _round(value: float) -> float:
    return round(float(value), _DIGITS)
