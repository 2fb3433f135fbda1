"""``boundaries.safetensors``: per method the three hyperplanes, the walks' directions and how far to walk.

Tensors are float64, named ``METHOD.NAME``: ``normals`` and ``directions`` [3, D], ``intercepts``, ``scales``,
``retained``, ``score_span`` and ``place_span`` [3], in the order of `AXES`. The metadata hold one key, ``boundaries``,
with JSON.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from atlas.errors import InputError
from atlas.files import write_bytes
from atlas.grid import AXES

FORMAT = 3
_KEY = "boundaries"
_TENSORS = ("normals", "intercepts", "scales", "directions", "retained", "score_span", "place_span")


@dataclass(frozen=True, eq=False)
class Boundaries:
    """The boundaries of one inversion method; arrays in the order of `AXES`, float64.

    Attributes:
        method: whose latent codes they were fitted to.
        space: "w": codes are one w; "w+": all layers' w, one after the other.
        num_ws, w_dim: of the generator.
        normals: [3, D] unit normals, towards the less deprived.
        intercepts: [3]; a code's score on an axis is code · normal + intercept, its signed distance.
        scales: [3]; score × scale is the SVM's decision value.
        directions: [3, D] unit vectors to walk along.
        retained: [3] the cosine between each direction and its normal.
        score_span: [3] 95th minus 5th percentile of the photographs' scores.
        place_span: [3] the same of their places along the directions, code · direction.
        kind: "orthogonal": each direction is orthogonal to the other axes' normals; "partial": each is how codes
            change where one dimension's percentile changes alone.
        warnings: what whoever walks here should know, a sentence each.
        generator_sha256: of the generator that the photographs were inverted with, "" if the latents did not say.
    """

    method: str
    space: str
    num_ws: int
    w_dim: int
    normals: np.ndarray
    intercepts: np.ndarray
    scales: np.ndarray
    directions: np.ndarray
    retained: np.ndarray
    score_span: np.ndarray
    place_span: np.ndarray
    kind: str = "orthogonal"
    warnings: tuple[str, ...] = ()
    generator_sha256: str = ""

    @property
    def walk_length(self) -> np.ndarray:
        """Return how far a whole walk goes in latent space, [3]: the step sizes of a grid times its 2n steps.

        An orthogonal walk spans the photographs' scores. A partial one spans their places along it: scores also spread
        by much that does not go with the dimension, and a walk that made up for that would leave the photographs.
        """
        return self.place_span if self.kind == "partial" else self.score_span / self.retained

    @property
    def walk_score(self) -> np.ndarray:
        """Return how much a whole walk changes its own score, [3]."""
        return self.walk_length * self.retained

    def half_walks(self) -> np.ndarray:
        """Return the vector from a base to the plus end of each axis's walk, [3, num_ws, w_dim] float32."""
        return layered(self.directions * (self.walk_length / 2)[:, None], self.num_ws, self.w_dim)

    def scores(self, codes: np.ndarray) -> np.ndarray:
        """Return the signed distances [M, 3] of codes [M, num_ws, w_dim].

        In W a code whose layers differ is scored by the mean over its layers.
        """
        wide = codes.astype(np.float64)
        vectors = wide.mean(1) if self.space == "w" else wide.reshape(len(wide), -1)
        return vectors @ self.normals.T + self.intercepts


def layered(vectors: np.ndarray, num_ws: int, w_dim: int) -> np.ndarray:
    """Give vectors [..., D] of W or flattened W+ one w per layer: [..., num_ws, w_dim] float32."""
    shape = vectors.shape[:-1]
    return np.broadcast_to(vectors.reshape(*shape, -1, w_dim), (*shape, num_ws, w_dim)).astype(np.float32)


def step_sizes(boundaries: Boundaries, steps: int) -> np.ndarray:
    """Return the length [3] of one step along each direction, for walks of −``steps`` … +``steps``.

    The whole walk spans the 5th to 95th percentile of the photographs' scores (a direction moves the score by its
    cosine with the normal, and a step is longer by as much), or of their places along a partial direction.
    """
    return boundaries.walk_length / (2 * steps)


def write_boundaries(path: Path, boundaries: Sequence[Boundaries]) -> None:
    """Write the boundaries of one or several methods, whole or not at all."""
    tensors = {
        f"{b.method}.{name}": np.ascontiguousarray(getattr(b, name), np.float64)
        for b in boundaries
        for name in _TENSORS
    }
    methods = {
        b.method: {
            "space": b.space,
            "num_ws": b.num_ws,
            "w_dim": b.w_dim,
            "directions": b.kind,
            "warnings": list(b.warnings),
            "generator_sha256": b.generator_sha256,
        }
        for b in boundaries
    }
    facts = {"format": FORMAT, "axes": AXES, "methods": methods}
    write_bytes(path, save(tensors, metadata={_KEY: json.dumps(facts, sort_keys=True)}))


def read_boundaries(path: str | Path, method: str) -> Boundaries:
    """Read one method's boundaries.

    Raises:
        InputError: the file is absent, damaged or not of boundaries, or has none of this method.
    """
    try:
        with safe_open(path, framework="np") as file:
            facts = json.loads((file.metadata() or {})[_KEY])
            if method not in facts["methods"]:
                raise InputError(f"{path} has no boundaries of method {method}: it has {', '.join(facts['methods'])}")
            about = facts["methods"][method]
            if facts["format"] != FORMAT:
                raise InputError(f"{path} was written by an older version: make it again with `atlas boundaries`")
            tensors = {name: file.get_tensor(f"{method}.{name}") for name in _TENSORS}
    except FileNotFoundError as error:
        raise InputError(f"no boundaries at {path}: make them with `atlas boundaries`") from error
    except (SafetensorError, KeyError, ValueError) as error:
        raise InputError(f"{path} is not a whole file of boundaries: make it again with `atlas boundaries`") from error
    return Boundaries(
        method=method,
        space=about["space"],
        num_ws=about["num_ws"],
        w_dim=about["w_dim"],
        kind=about["directions"],
        warnings=tuple(about["warnings"]),
        generator_sha256=str(about.get("generator_sha256", "")),
        **tensors,
    )
