"""How well an axis's boundary tells photographs apart that it has not seen: by the paper's protocol and an honest one.

The paper's protocol ("random") splits photographs at random, 80/20. Neighbouring photographs, often of one house, then
fall on both sides. The honest one ("blocks") splits 1 km blocks of whole areas and leaves out of the training part what
lies within 100 m of the test part. Both are run on the same photographs, so that the difference between them is what
the random split flatters. Here the random split is drawn as disjoint test parts, so that every photograph is judged
once in both.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from atlas.errors import InputError
from atlas.preset import BoundarySettings
from atlas.progress import Progress, silent
from pipeline.boundaries.blocks import group_folds, near, random_folds
from pipeline.boundaries.metrics import METRICS, Predictions, auc, bootstrap, draw_blocks, estimates, interval
from pipeline.boundaries.solver import Gram, Machines, balanced_weights, fit_machines

PROTOCOLS = ("random", "blocks")
_INNER_FOLDS = 3
_ROUGH, _FINE = 1e-2, 1e-3  # tolerances: where machines are many and only compared, and where one is reported
_DIGITS = 6


@dataclass(frozen=True, eq=False)
class Case:
    """The balanced extremes of one axis, in one representation (a method's codes, features, colour).

    Attributes:
        name: of the axis, for errors.
        gram: codes of the n photographs.
        labels: [n] 0 the most deprived, 1 the least.
        areas, blocks: [n] int.
        places: [n, 2] metres.
    """

    name: str
    gram: Gram
    labels: np.ndarray
    areas: np.ndarray
    blocks: np.ndarray
    places: np.ndarray


@dataclass(frozen=True, eq=False)
class Split:
    """A way of splitting photographs.

    Attributes:
        protocol: one of `PROTOCOLS`.
        fold_of: [n] the fold in which each photograph is judged.
        train: [n, folds] bool, what each fold's machine may see.
        units: [n], what the inner folds, in which C is chosen, keep together.
    """

    protocol: str
    fold_of: np.ndarray
    train: np.ndarray
    units: np.ndarray

    @property
    def folds(self) -> int:
        """Return how many folds there are."""
        return self.train.shape[1]


def random_split(case: Case, folds: int, seed: int) -> Split:
    """Split photographs at random, both classes evenly."""
    fold_of = random_folds(case.labels, folds, seed)
    return Split("random", fold_of, fold_of[:, None] != np.arange(folds), np.arange(len(fold_of)))


def block_split(case: Case, folds: int, seed: int) -> Split:
    """Split blocks and leave a margin around each test part.

    Raises:
        InputError: there are fewer blocks than folds, or a training part is left with one class.
    """
    blocks = len(np.unique(case.blocks))
    if blocks < folds:
        raise InputError(
            f"axis {case.name} has photographs in {blocks} blocks of 1 km in its extremes and {folds} folds need as "
            "many: lower --folds or add photographs from elsewhere"
        )
    fold_of = group_folds(case.blocks, case.labels, folds, seed)
    train = np.stack([(fold_of != f) & ~near(case.places, fold_of == f) for f in range(folds)], 1)
    for seen in train.T:
        if len(np.unique(case.labels[seen])) < 2:
            raise InputError(
                f"axis {case.name}: all areas of one class fell into one fold or within 100 m of it: lower --folds or "
                "add photographs of more areas"
            )
    return Split("blocks", fold_of, train, case.blocks)


def c_grid(case: Case) -> np.ndarray:
    """Return the values that C is chosen from: 1 … 10,000 over the sum of the codes' squared lengths.

    Below, a machine is nearly the difference of the classes' means, whatever the number of codes and dimensions is;
    above, it knows the training part by heart.
    """
    return 10.0 ** np.arange(5) / float(np.square(case.gram.rows, dtype=np.float64).sum() or 1)


def choose_c(case: Case, split: Split, seed: int) -> np.ndarray:
    """Choose C for each fold inside its training part, by the AUC in inner folds.

    Returns:
        [folds], of `c_grid`; of those within a tenth of a standard error of the best the smallest, the smoothest.

    Raises:
        InputError: a training part has a single block, so that nothing is left to choose by.
    """
    inner = np.full(split.train.shape, -1)
    for f, seen in enumerate(split.train.T):
        units = len(np.unique(split.units[seen]))
        if units < 2:
            raise InputError(
                f"axis {case.name}: the training part of a fold has photographs of 1 block only, in which C cannot be "
                "chosen: give --c, lower --folds or add photographs from elsewhere"
            )
        folds = min(_INNER_FOLDS, units)
        inner[seen, f] = group_folds(split.units[seen], case.labels[seen], folds, seed + f)
    columns = [(f, j) for f in range(split.folds) for j in range(inner[:, f].max() + 1)]
    seen = np.stack([split.train[:, f] & (inner[:, f] != j) for f, j in columns], 1)
    grid = c_grid(case)
    found = _fit(case, np.repeat(seen, len(grid), 1), np.tile(grid, len(columns)), _ROUGH)
    scores = found.scores.reshape(len(case.labels), len(columns), len(grid))
    chosen = []
    for f in range(split.folds):
        rows = split.train[:, f]
        mine = np.empty((len(rows), len(grid)))
        for k, (fold, j) in enumerate(columns):
            if fold == f:
                mine[inner[:, f] == j] = scores[inner[:, f] == j, k]
        areas = auc(case.labels[rows], mine[rows], inner[rows, f])
        chosen.append(grid[_smoothest(areas, case.labels[rows])])
    return np.array(chosen)


def shared_c(cases: Sequence[tuple[Case, Split]], settings: BoundarySettings) -> list[float]:
    """Return the C of each axis's boundary fitted to all photographs: as set, or chosen over the splits' folds.

    Chosen is one place on the grid for all axes, by their mean AUC: directions come of taking normals out of each
    other, for which they must be equally smooth.
    """
    if settings.c:
        return [settings.c] * len(cases)
    areas = np.mean([_grid_auc(case, split) for case, split in cases], axis=0)
    place = _smoothest(areas, np.concatenate([case.labels for case, _ in cases]))
    return [float(c_grid(case)[place]) for case, _ in cases]


def _grid_auc(case: Case, split: Split) -> np.ndarray:
    """Return the out-of-fold AUC at each place of the grid."""
    grid = c_grid(case)
    seen = np.repeat(split.train, len(grid), 1)
    found = _fit(case, seen, np.tile(grid, split.folds), _ROUGH).scores.reshape(len(case.labels), split.folds, -1)
    return auc(case.labels, found[np.arange(len(found)), split.fold_of], split.fold_of)


def _smoothest(areas: np.ndarray, labels: np.ndarray) -> int:
    """Return the first whose AUC is within a tenth of a standard error (of an AUC of 0.5) of the best one's."""
    ones = labels.sum()
    error = np.sqrt((len(labels) + 1) / (12 * ones * (len(labels) - ones)))
    return int(np.argmax(areas >= areas.max() - error / 10))


def _fit(case: Case, seen: np.ndarray, c: np.ndarray, tolerance: float) -> Machines:
    labels = np.broadcast_to(case.labels[:, None], seen.shape)
    return fit_machines(case.gram, labels, balanced_weights(labels, seen), c, tolerance)


def out_of_fold(case: Case, split: Split, c: np.ndarray) -> tuple[Predictions, Machines]:
    """Predict every photograph by the machine of its fold; return that and the machines, one a fold."""
    machines = _fit(case, split.train, c, _FINE)
    scores = machines.scores[np.arange(len(case.labels)), split.fold_of]
    return Predictions(case.labels, scores, split.fold_of), machines


def permuted_auc(
    case: Case, split: Split, c: np.ndarray, permutations: int, seed: int, progress: Progress = silent
) -> np.ndarray:
    """Return the out-of-fold AUC where deprivation was dealt anew to whole areas and every machine refitted.

    The areas' classes are permuted among the areas of the sample; codes, folds and C stay, C as it was chosen on the
    true classes.

    Returns:
        [1 + permutations]; the first one belongs to the true classes, found with the same tolerance.
    """
    _, first, index = np.unique(case.areas, return_index=True, return_inverse=True)
    of_area = case.labels[first]
    rng = np.random.default_rng(seed)
    dealt = [of_area, *(rng.permutation(of_area) for _ in range(permutations))]
    labels = np.stack(dealt, 1)[index].astype(np.int8)
    scores = np.empty(labels.shape, np.float32)
    for f in range(split.folds):
        seen = np.broadcast_to(split.train[:, [f]], labels.shape)
        found = fit_machines(case.gram, labels, balanced_weights(labels, seen), c[f], _ROUGH)
        test = split.fold_of == f
        scores[test] = found.scores[test]
        progress(f + 1, split.folds)
    return auc(labels, scores, split.fold_of)


def p_value(null: np.ndarray, observed: float) -> float:
    """Return the share of permutations that do at least as well, the true one counted among them."""
    return float((1 + (null >= observed).sum()) / (1 + len(null)))


def evaluate(case: Case, settings: BoundarySettings, seed: int, progress: Progress = silent) -> dict[str, Any]:
    """Run both protocols.

    Args:
        case: the photographs.
        settings: folds, C (0: chosen inside the training part), bootstrap draws, permutations.
        seed: of folds, bootstrap and permutations.
        progress: told of folds of the permutations.

    Returns:
        JSON-able: ``rows``, one a protocol, and ``leakage``: how much higher F1 and AUC are by the random split, each
        with its 95 % interval over the same draws of blocks.
    """
    _, blocks = np.unique(case.blocks, return_inverse=True)
    times = draw_blocks(int(blocks.max()) + 1, settings.bootstraps, seed)
    rows, found, drawn = [], [], []
    for split in (random_split(case, settings.folds, seed), block_split(case, settings.folds, seed)):
        c = np.full(split.folds, settings.c) if settings.c else choose_c(case, split, seed)
        predictions, _ = out_of_fold(case, split, c)
        found.append(estimates(predictions))
        drawn.append(bootstrap(predictions, blocks, times))
        row = _row(case, split, c, found[-1], drawn[-1])
        if split.protocol == "blocks":
            row |= _permutation(case, split, c, settings.permutations, seed, progress)
        rows.append(row)
    return {"rows": rows, "leakage": _leakage(found, drawn)}


def _row(
    case: Case, split: Split, c: np.ndarray, found: dict[str, float], drawn: dict[str, np.ndarray]
) -> dict[str, Any]:
    row: dict[str, Any] = {"axis": case.name, "protocol": split.protocol}
    row |= {name: round(found[name], _DIGITS) for name in METRICS}
    row |= {f"{name}_interval": _rounded(interval(drawn[name], found[name])) for name in METRICS}
    left_out = (~split.train).sum(0) - np.bincount(split.fold_of, minlength=split.folds)
    return row | {
        "n": len(case.labels),
        "n_train": round(float(split.train.sum(0).mean())),
        "left_out_near": round(float(left_out.mean())),
        "areas": len(np.unique(case.areas)),
        "blocks": len(np.unique(case.blocks)),
        "folds": split.folds,
        "c": c.tolist(),
    }


def _permutation(
    case: Case, split: Split, c: np.ndarray, permutations: int, seed: int, progress: Progress
) -> dict[str, Any]:
    if not permutations:
        return {"permutations": 0}
    areas = permuted_auc(case, split, c, permutations, seed, progress)
    observed, null = float(areas[0]), areas[1:]
    return {
        "permutations": permutations,
        "p": round(p_value(null, observed), _DIGITS),
        "null_auc": _rounded([null.mean(), *np.percentile(null, [2.5, 97.5])]),
    }


def _leakage(found: list[dict[str, float]], drawn: list[dict[str, np.ndarray]]) -> dict[str, Any]:
    """Return by how much the first protocol's F1 and AUC exceed the second's."""
    result: dict[str, Any] = {}
    for name in ("f1", "auc"):
        difference = found[0][name] - found[1][name]
        result[name] = round(difference, _DIGITS)
        result[f"{name}_interval"] = _rounded(interval(drawn[0][name] - drawn[1][name], difference))
    return result


def _rounded(values: Any) -> list[float]:
    return [round(float(v), _DIGITS) for v in values]
