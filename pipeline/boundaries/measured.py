"""Which scores a walk really moves: rendered ends are inverted again and scored by boundaries that did not make it.

The photographs are halved by blocks. One half makes the directions; the ends of their walks are rendered, the images
inverted as if they were photographs, and scored by boundaries fitted to the other half.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from atlas.errors import InputError
from atlas.grid import AXES
from atlas.preset import BoundarySettings
from pipeline.boundaries.fitting import directions_of, spans
from pipeline.boundaries.sample import Labelled, balanced_sample
from pipeline.boundaries.store import Boundaries
from pipeline.boundaries.svm import LinearBoundary
from pipeline.boundaries.walking import BATCH, mean_interval, walk_codes
from pipeline.gan import Generator
from pipeline.gan.rendering import render_codes

Invert = Callable[[np.ndarray], np.ndarray]
"""Images [N, H, W, 3] uint8 → codes [N, num_ws, w_dim] float32."""
_ENDS = np.array([-1.0, 1.0])
_DIGITS = 4


def measured_moves(
    generator: Generator,
    labelled: Labelled,
    c: tuple[float, ...],
    like: Boundaries,
    bases: np.ndarray,
    invert: Invert,
    settings: BoundarySettings,
    seed: int,
) -> dict[str, Any]:
    """Measure the 3 × 3 table "axis walked → score moved".

    Args:
        generator: in eval mode.
        labelled: all photographs' codes.
        c: of each axis.
        like: the method's boundaries, for its name and shapes.
        bases: [B, num_ws, w_dim].
        invert: finds the codes of images.
        settings: the share in each class, the kind of directions.
        seed: of the halves and intervals.

    Returns:
        JSON-able. ``measured``, of the inverted images, and ``computed``, of the codes that were rendered: [3][3][3],
        axis walked, score, (mean, low, high) over bases. The unit is the span of the photographs' own scores, so that
        an orthogonal walk that does what it promises moves its own by 1.

    Raises:
        InputError: a half has too few photographs or areas of a class.
    """
    maker, judge = _halves(labelled, seed)
    makers = _boundaries(maker, c, like, settings, seed)
    judges = _boundaries(judge, c, like, settings, seed)
    codes = np.stack([walk_codes(base, makers.half_walks(), _ENDS) for base in bases])  # [B, 3, 2, num_ws, w_dim]
    flat = codes.reshape(-1, *bases.shape[1:])
    again = invert(render_codes(generator, flat, BATCH))
    return {
        "bases": len(bases),
        "photographs": {"directions": len(maker), "scores": len(judge)},
        "measured": _table(judges, again.reshape(codes.shape), seed),
        "computed": _table(judges, codes, seed),
    }


def _halves(labelled: Labelled, seed: int) -> tuple[Labelled, Labelled]:
    blocks = int(labelled.blocks.max()) + 1
    first = np.zeros(blocks, bool)
    first[np.random.default_rng(seed).permutation(blocks)[: blocks // 2]] = True
    chosen = first[labelled.blocks]
    return labelled.subset(chosen), labelled.subset(~chosen)


def _boundaries(
    half: Labelled, c: tuple[float, ...], like: Boundaries, settings: BoundarySettings, seed: int
) -> Boundaries:
    machines = []
    for axis in range(len(AXES)):
        try:
            sample = balanced_sample(half, axis, settings.fifth, 2, seed)
        except InputError as error:
            raise InputError(
                f"in one half of the photographs, {error}; or leave this out with --reinverted 0"
            ) from error
        machines.append(LinearBoundary(c=c[axis]).fit(half.codes[sample.rows], sample.labels))
    normals = np.stack([machine.normal_ for machine in machines])
    intercepts = np.array([machine.intercept_ for machine in machines])
    directions = directions_of(normals, half, settings.directions)
    return Boundaries(
        method=like.method,
        space=like.space,
        num_ws=like.num_ws,
        w_dim=like.w_dim,
        normals=normals,
        intercepts=intercepts,
        scales=np.array([machine.scale_ for machine in machines]),
        directions=directions.vectors,
        retained=directions.retained,
        score_span=spans(half.distances(normals, intercepts)),
        place_span=spans(half.distances(directions.vectors, np.zeros(len(AXES)))),
        kind=settings.directions,
    )


def _table(judges: Boundaries, codes: np.ndarray, seed: int) -> list[list[list[float]]]:
    """Return the scores' moves of codes [B, 3, 2, num_ws, w_dim], in spans of the photographs' scores."""
    scores = judges.scores(codes.reshape(-1, *codes.shape[3:])).reshape(*codes.shape[:3], 3)
    moves = (scores[:, :, 1] - scores[:, :, 0]) / judges.score_span
    found = mean_interval(moves, seed)  # [3 (mean, low, high), walked, scored]
    return [[[round(float(v), _DIGITS) for v in found[:, i, j]] for j in range(3)] for i in range(3)]
