"""Which photographs of a folder or zip are kept, and why the others are not."""

from __future__ import annotations

import csv
import io
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from atlas.errors import InputError
from atlas.files import require_space, write_bytes, write_json, write_text
from atlas.progress import Progress, silent
from pipeline.photos.filter.labels import read_labels, write_page
from pipeline.photos.filter.quality import brightness, difference_hash, near_duplicates, sharpness
from pipeline.photos.importing import require_present
from pipeline.photos.listing import Listed, read_listing
from pipeline.photos.pool import ordered_map
from pipeline.photos.region import cell
from pipeline.photos.repair import DamagedError, repair
from pipeline.photos.sheet import contact_sheet
from pipeline.photos.sources import open_source

TABLE, REPORT, SHEET, DOUBTFUL = "filter.csv", "filter.json", "doubtful.jpg", "doubtful"
LABELLED, SCORED, BLURRED, DARK = "labelled not usable", "scored not usable", "blurred", "dark"
DUPLICATE, DAMAGED = "near-duplicate", "damaged"
REASONS = (DAMAGED, LABELLED, SCORED, BLURRED, DARK, DUPLICATE)
_SIDE, _BATCH = 224, 32
_PAGE_SIDE, _SHEET_COLUMNS = 512, 12


@dataclass(frozen=True)
class FilterSettings:
    """Where the lines are drawn.

    Attributes:
        threshold: a photograph scored at least so is kept, 0 … 1.
        sharpness: one below is blurred (`quality.sharpness`); 0 for no such line.
        brightness: one below is dark, 0 … 1; 0 for no such line.
        bits: hashes that differ in at most so many bits are alike; −1 for no such line.
        metres: and their cameras are at most so far apart.
        doubtful: how many photographs, scored nearest to the threshold, are put on the sheet.
        seed: of the splits.
    """

    threshold: float = 0.5
    sharpness: float = 0.004
    brightness: float = 0.12
    bits: int = 6
    metres: float = 25.0
    doubtful: int = 120
    seed: int = 1

    def __post_init__(self) -> None:
        for name in ("threshold", "brightness"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"{name} must be 0 … 1, got {getattr(self, name):g}")
        if not (self.sharpness >= 0 and self.metres >= 0 and -1 <= self.bits <= 64 and self.doubtful >= 0):
            raise InputError("sharpness, metres and doubtful must not be negative, and bits must be −1 … 64")


@dataclass(eq=False)
class Measured:
    """What was measured of N photographs; a damaged one has no numbers.

    Attributes:
        sharpness: [N].
        brightness: [N].
        hashes: [N].
        faults: index → why it cannot be decoded.
        features: [N, 1280] float32, zero for a damaged one; None where they were not asked for.
    """

    sharpness: list[float] = field(default_factory=list)
    brightness: list[float] = field(default_factory=list)
    hashes: list[int] = field(default_factory=list)
    faults: dict[int, str] = field(default_factory=dict)
    features: np.ndarray | None = None


def filter_photographs(
    photos: Path,
    photos_csv: Path,
    out: Path,
    settings: FilterSettings,
    labels: Sequence[Path] = (),
    *,
    device: str = "cpu",
    workers: int | None = None,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Measure and, with labels, score every photograph; write which are kept.

    ``out`` gets ``filter.csv`` (file, keep, reason, score, label, sharpness, brightness, duplicate_of), which
    `atlas dataset import --keep` reads; ``filter.json``, the report; and, with labels, ``doubtful.jpg`` and a
    labelling page in ``doubtful/`` of the photographs scored nearest to the threshold.

    A label overrules score, blur and darkness; of near-duplicates the sharpest is kept.

    Returns:
        The report.

    Raises:
        InputError: a table or label that cannot be used, photographs that are listed and absent, too few labels.
    """
    listed = read_listing(photos_csv)
    names = [photo.file for photo in listed]
    given = read_labels(labels, names)
    position = {name: i for i, name in enumerate(names)}
    require_space(out, len(names) * 200 + settings.doubtful * 200_000, f"the filter's folder {out}")
    measured = _measure(photos, photos_csv, names, device if labels else None, workers, progress)
    hand = {position[name]: usable for name, usable in given.items()}
    selection = None
    if labels:
        from pipeline.photos.filter.scoring import select

        known = {i: usable for i, usable in hand.items() if i not in measured.faults}
        blocks = [cell(photo.lat, photo.lon) for photo in listed]
        features = measured.features if measured.features is not None else np.zeros((len(names), 0), np.float32)
        selection = select(features, known, blocks, threshold=settings.threshold, seed=settings.seed)
    scores = None if selection is None else selection.scores
    reasons = _reasons(measured, hand, scores, settings)
    twins = _duplicates(listed, measured, reasons, settings)
    reasons.update(dict.fromkeys(twins, DUPLICATE))
    counts = Counter(reasons.values())
    report: dict[str, Any] = {
        "photographs": len(names),
        "kept": len(names) - len(reasons),
        "dropped": {reason: counts[reason] for reason in REASONS},
        "settings": {name: getattr(settings, name) for name in settings.__dataclass_fields__},
        "classifier": None if selection is None else _classifier(selection),
    }
    _write_table(out / TABLE, listed, measured, hand, scores, reasons, twins)
    write_json(out / REPORT, report)
    if scores is not None:
        doubtful = _doubtful(scores, measured, hand, settings)
        _write_doubtful(photos, out, [names[i] for i in doubtful], scores[doubtful])
    return report


def write_labelling_page(
    photos: Path, photos_csv: Path, out: Path, count: int, seed: int, labels: Sequence[Path] = ()
) -> int:
    """Write a page on which a person labels ``count`` photographs, chosen by chance among those without a label.

    Returns:
        How many are on it.

    Raises:
        InputError: a table that cannot be used, nothing left to label, a chosen photograph absent or damaged.
    """
    if count < 1:
        raise InputError(f"a labelling page needs at least 1 photograph, got {count}")
    names = [photo.file for photo in read_listing(photos_csv)]
    done = read_labels(labels, names)
    left = [name for name in names if name not in done]
    if not left:
        raise InputError(f"all {len(names)} photographs in {photos_csv} have a label")
    chosen = np.random.default_rng(seed).permutation(len(left))[:count]
    return write_page(out, _jpegs(photos, [left[i] for i in chosen]), "Is this photograph usable?")


def _jpegs(photos: Path, names: Sequence[str]) -> Iterator[tuple[str, bytes]]:
    with open_source(photos) as source:
        absent = source.absent(names)
        if absent:
            raise InputError(f"{absent[0]!r} is listed and not in {photos}")
        for name in names:
            try:
                yield name, _jpeg(repair(source.read(name), _PAGE_SIDE).image)
            except DamagedError:
                continue


def _jpeg(image: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "JPEG", quality=85)
    return stream.getvalue()


def _measure(
    photos: Path, photos_csv: Path, names: list[str], device: str | None, workers: int | None, progress: Progress
) -> Measured:
    """Decode every photograph on every core; run the network here, a batch at a time, unless ``device`` is None."""
    measured, batch, at = Measured(), [], []
    if device is not None:
        from pipeline.features import load_efficientnet_lite0
        from pipeline.photos.filter.scoring import pooled_features

        net = load_efficientnet_lite0(device)
        measured.features = np.zeros((len(names), 1280), np.float32)
    with open_source(photos) as source:
        require_present(source, names, photos, photos_csv)
        files = (source.read(name) for name in names)
        for index, found in enumerate(ordered_map(partial(_one, device is not None), files, workers)):
            values, image, fault = found
            if fault:
                measured.faults[index] = fault
            measured.sharpness.append(values[0])
            measured.brightness.append(values[1])
            measured.hashes.append(values[2])
            if image is not None:
                batch.append(image)
                at.append(index)
            if measured.features is not None and len(batch) == _BATCH:
                measured.features[at] = pooled_features(net, np.stack(batch))
                batch, at = [], []
            progress(index + 1, len(names))
        if batch and measured.features is not None:
            measured.features[at] = pooled_features(net, np.stack(batch))
    return measured


def _one(with_image: bool, data: bytes) -> tuple[tuple[float, float, int], np.ndarray | None, str]:
    try:
        image = repair(data, _SIDE).image
    except DamagedError as error:
        return (math.nan, math.nan, 0), None, str(error)
    return (sharpness(image), brightness(image), difference_hash(image)), image if with_image else None, ""


def _reasons(
    measured: Measured, hand: Mapping[int, bool], scores: np.ndarray | None, settings: FilterSettings
) -> dict[int, str]:
    """Return why photographs are dropped, duplicates aside, the first reason that holds."""
    reasons: dict[int, str] = {}
    for index in range(len(measured.sharpness)):
        label = hand.get(index)
        if index in measured.faults:
            reasons[index] = DAMAGED
        elif label is False:
            reasons[index] = LABELLED
        elif label is True:
            continue
        elif scores is not None and scores[index] < settings.threshold:
            reasons[index] = SCORED
        elif measured.sharpness[index] < settings.sharpness:
            reasons[index] = BLURRED
        elif measured.brightness[index] < settings.brightness:
            reasons[index] = DARK
    return reasons


def _duplicates(
    listed: Sequence[Listed], measured: Measured, reasons: Mapping[int, str], settings: FilterSettings
) -> dict[int, int]:
    left = [i for i in range(len(listed)) if i not in reasons]
    if settings.bits < 0:
        return {}
    lat, lon = np.array([p.lat for p in listed]), np.array([p.lon for p in listed])
    order = sorted(left, key=lambda i: (-measured.sharpness[i], i))
    return near_duplicates(measured.hashes, lat, lon, order, bits=settings.bits, metres=settings.metres)


def _doubtful(scores: np.ndarray, measured: Measured, hand: Mapping[int, bool], settings: FilterSettings) -> np.ndarray:
    """Return the unlabelled photographs scored nearest to the threshold, the lowest score first."""
    open_ = np.array([i for i in range(len(scores)) if i not in hand and i not in measured.faults], np.int64)
    nearest = open_[np.argsort(np.abs(scores[open_] - settings.threshold), kind="stable")[: settings.doubtful]]
    return nearest[np.argsort(scores[nearest], kind="stable")]


def _write_doubtful(photos: Path, out: Path, names: list[str], scores: np.ndarray) -> None:
    if not names:
        return
    jpegs = list(_jpegs(photos, names))
    write_page(out / DOUBTFUL, jpegs, "Doubtful: is this photograph usable?")
    thumbs = [np.asarray(Image.open(io.BytesIO(jpeg)).resize((96, 96))) for _, jpeg in jpegs]
    captions = [f"{score:.2f}" for score in scores]
    write_bytes(out / SHEET, contact_sheet(thumbs, columns=_SHEET_COLUMNS, captions=captions))


def _classifier(selection: Any) -> dict[str, Any]:
    from pipeline.features import weights_sha256

    return {
        "features": "EfficientNet-Lite0, pooled",
        "weights_sha256": weights_sha256(),
        "labelled": selection.labelled,
        "usable": selection.usable,
        "folds": selection.folds,
        "split": "1 km blocks" if selection.by_block else "photographs",
        "strength": selection.strength,
        "threshold": selection.threshold,
        "precision": None if math.isnan(selection.precision) else round(selection.precision, 4),
        "precision_interval": [round(v, 4) for v in selection.precision_interval],
        "recall": round(selection.recall, 4),
        "recall_interval": [round(v, 4) for v in selection.recall_interval],
    }


def _write_table(
    path: Path,
    listed: Sequence[Listed],
    measured: Measured,
    hand: Mapping[int, bool],
    scores: np.ndarray | None,
    reasons: Mapping[int, str],
    twins: Mapping[int, int],
) -> None:
    stream = io.StringIO()
    rows = csv.writer(stream, lineterminator="\n")
    rows.writerow(("file", "keep", "reason", "score", "label", "sharpness", "brightness", "duplicate_of"))
    for i, photo in enumerate(listed):
        score = "" if scores is None or i in measured.faults else f"{scores[i]:.4f}"
        label = {None: "", True: "1", False: "0"}[hand.get(i)]
        sound = i not in measured.faults
        numbers = (f"{measured.sharpness[i]:.5f}", f"{measured.brightness[i]:.3f}") if sound else ("", "")
        twin = listed[twins[i]].file if i in twins else ""
        rows.writerow((photo.file, int(i not in reasons), reasons.get(i, ""), score, label, *numbers, twin))
    write_text(path, stream.getvalue())


def describe(report: Mapping[str, Any]) -> Iterable[str]:
    """Yield a report as lines for a person."""
    yield f"{report['kept']} of {report['photographs']} photographs kept"
    for reason, number in report["dropped"].items():
        if number:
            yield f"dropped, {reason}: {number}"
    classifier = report["classifier"]
    if classifier:
        for name in ("precision", "recall"):
            low, high = classifier[f"{name}_interval"]
            value = "none" if classifier[name] is None else f"{classifier[name]:.3f}"
            yield f"{name} {value} ({low:.3f} to {high:.3f}) at a score of {classifier['threshold']:g}"
        yield (
            f"cross-validated in {classifier['folds']} folds of {classifier['split']} over {classifier['labelled']} "
            f"labels, {classifier['usable']} of them usable"
        )
