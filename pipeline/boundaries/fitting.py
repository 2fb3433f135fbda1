"""From latent codes to boundaries: three hyperplanes, how well each tells areas apart, and the walks' directions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from atlas.grid import AXES
from atlas.preset import BoundarySettings
from atlas.progress import Progress, silent
from pipeline.boundaries.directions import conditional_directions
from pipeline.boundaries.evaluation import Evaluation, evaluate
from pipeline.boundaries.sample import Sample, balanced_sample, join
from pipeline.boundaries.store import Boundaries
from pipeline.boundaries.svm import LinearBoundary
from pipeline.inversion.latents import Latents
from pipeline.photos.dataset import Dataset

_SPAN = (5, 95)


@dataclass(frozen=True, eq=False)
class Fit:
    """The boundaries of one method and what is known about them.

    Attributes:
        boundaries: the hyperplanes and directions.
        samples: the photographs behind each axis's boundary.
        evaluations: how well each axis's boundary does on areas it has not seen.
        photographs, areas: how many there were in all.
    """

    boundaries: Boundaries
    samples: tuple[Sample, ...]
    evaluations: tuple[Evaluation, ...]
    photographs: int
    areas: int


def fit_boundaries(
    latents: Latents,
    dataset: Dataset,
    settings: BoundarySettings,
    seed: int,
    method: str,
    progress: Progress = silent,
) -> Fit:
    """Fit and evaluate the boundary of every axis.

    The boundary that is walked is fitted to all of the balanced sample; what is said about it comes from boundaries
    fitted without the areas they are tested on.

    Args:
        latents: codes of the dataset's photographs, or of some of them.
        dataset: percentiles and areas.
        settings: the share in each class, C, folds.
        seed: of the balancing, the folds and the bootstrap.
        method: how the codes were found.
        progress: told of axes.

    Raises:
        InputError: see `join`, `balanced_sample` and `conditional_directions`.
    """
    labelled = join(latents, dataset)
    samples = [balanced_sample(labelled, axis, settings.fifth, settings.folds, seed) for axis in range(len(AXES))]
    machines, evaluations = [], []
    for axis, sample in enumerate(samples):
        codes, areas = labelled.codes[sample.rows], labelled.areas[sample.rows]
        machine = LinearBoundary(c=settings.c)
        evaluations.append(evaluate(machine, codes, sample.labels, areas, settings.folds, _mixed(seed, axis)))
        machines.append(machine.fit(codes, sample.labels))
        progress(axis + 1, len(AXES))
    normals = np.stack([machine.normal_ for machine in machines])
    directions = conditional_directions(normals)
    scores = np.stack([machine.decision_function(labelled.codes) for machine in machines], 1)
    low, high = np.percentile(scores, _SPAN, axis=0)
    boundaries = Boundaries(
        method=method,
        space=labelled.space,
        num_ws=latents.w.shape[1],
        w_dim=latents.w.shape[2],
        normals=normals,
        intercepts=np.array([machine.intercept_ for machine in machines]),
        scales=np.array([machine.scale_ for machine in machines]),
        directions=directions.vectors,
        retained=directions.retained,
        score_span=high - low,
    )
    areas = len(np.unique(labelled.areas))
    return Fit(boundaries, tuple(samples), tuple(evaluations), len(latents), areas)


def _mixed(seed: int, axis: int) -> int:
    """Return a seed for one axis, so that axes do not share their folds' order."""
    return int(np.random.SeedSequence([seed, axis, 1]).generate_state(1)[0])
