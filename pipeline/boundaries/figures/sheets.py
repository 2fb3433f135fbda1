"""The figures of the paper, made from this run, and the numbers behind each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.sparse.linalg import svds

from atlas.errors import InputError
from atlas.files import read_json
from atlas.grid import AXES
from pipeline.boundaries.figures import canvas
from pipeline.boundaries.fitting import Fit
from pipeline.boundaries.metrics import auc
from pipeline.boundaries.store import Boundaries
from pipeline.boundaries.walking import BATCH, walk_codes
from pipeline.gan import Generator
from pipeline.gan.rendering import random_codes, render_codes
from pipeline.inversion.latents import read_latents
from pipeline.photos.dataset import Dataset

_PHOTOGRAPHS, _MARKED, _STREETS, _COMPARED = 24, 12, 3, 6
_CLOUD = 2000
_WALK = np.linspace(-1, 1, 7)
_NEIGHBOURS = 15  # of UMAP, its own default
_DIGITS = 4


@dataclass(frozen=True)
class Figures:
    """Writes figures into a folder and keeps what the report says of them.

    Attributes:
        folder: of the files.
        local_only: whether the photographs' licence forbids publishing what shows them.
        seed: of choices.
        said: by name: ``files``, ``caption``, ``numbers``, ``local_only``.
    """

    folder: Path
    local_only: bool
    seed: int
    said: dict[str, dict[str, Any]]

    def photographs(self, dataset: Dataset) -> None:
        """(1) Draw some of the photographs."""
        count = min(_PHOTOGRAPHS, len(dataset))
        rows = np.sort(np.random.default_rng(self.seed).permutation(len(dataset))[:count])
        images = dataset.images(rows)
        grid = [[*images[i : i + 8]] for i in range(0, count, 8)]
        figure = canvas.image_grid(grid, [""] * len(grid), [""] * min(count, 8))
        numbers = {"photographs": len(dataset), "shown": [dataset.files[row] for row in rows]}
        self._write("photographs", figure, "Photographs that the generator studied.", numbers)

    def latent_map(self, generator: Generator, seed: int) -> None:
        """(2) Draw how G maps its latent space to images, along the two directions in which its codes vary most."""
        codes = random_codes(generator, _CLOUD, 1.0, seed)
        w = codes[:, 0].astype(np.float64)
        variances, axes = np.linalg.eigh(np.cov(w.T))
        points = (w - w.mean(0)) @ axes[:, [-1, -2]]
        images = render_codes(generator, codes[:_MARKED], BATCH)
        shares = variances[[-1, -2]] / variances.sum()
        labels = tuple(f"principal component {k + 1} of w ({share:.0%})" for k, share in enumerate(shares))
        figure = canvas.map_of_images(points, points[:_MARKED], images, (labels[0], labels[1]))
        numbers = {"codes": _CLOUD, "variance": _plain(shares), "marked": _plain(points[:_MARKED])}
        self._write(
            "latent-map", figure, "How the generator maps its latent space to images: its own samples.", numbers
        )

    def projection(self, fit: Fit, axis: int, umap: bool) -> None:
        """(3) Draw photographs of high and low areas in two dimensions."""
        each, name = fit.axes[axis], AXES[axis]
        rows, labels = each.sample.rows, each.sample.labels
        if umap:
            points, words = umap_points(fit.labelled.codes[rows], self.seed), ("UMAP 1", "UMAP 2")
            numbers: dict[str, Any] = {"neighbours": _NEIGHBOURS}
        else:
            points, share = _plane(fit, axis)
            words = (f"distance from the boundary of {name}", f"first principal component of the rest ({share:.0%})")
            area = auc(labels, points[:, :1], each.split.fold_of)[0]
            numbers = {"variance_of_rest": _plain(share), "auc": _plain(area)}
        clouds = [
            (f"{word} deprived fifth ({(labels == label).sum():,})", colour, points[labels == label])
            for label, word, colour in ((0, "most", canvas.MORE), (1, "least", canvas.LESS))
        ]
        note = "Distances by boundaries that have not seen the photographs."
        figure = canvas.scatter(clouds, words, None if umap else 0.0, "" if umap else note)
        caption = f"Latent codes of photographs from the most and the least deprived fifth by {name}."
        numbers |= {"n": [int((labels == label).sum()) for label in (0, 1)]}
        self._write(f"projection-{fit.boundaries.method}-{name}", figure, caption, numbers)

    def matrix(self, generator: Generator, boundaries: Boundaries, base: np.ndarray) -> None:
        """(4) Draw one image under the three dimensions."""
        codes = walk_codes(base, boundaries.half_walks(), np.array([-1.0, 0.0, 1.0]))
        images = _rendered(generator, codes)
        figure = canvas.image_grid(
            [list(row) for row in images], [axis.capitalize() for axis in AXES], ["low", "original", "high"]
        )
        numbers = {"scores": _plain(boundaries.scores(codes.reshape(-1, *base.shape)).reshape(3, 3, 3))}
        caption = "One image at the ends of each dimension, the other two left alone."
        self._write(f"matrix-{boundaries.method}", figure, caption, numbers)

    def streets(self, generator: Generator, boundaries: Boundaries, bases: np.ndarray, axis: int) -> None:
        """(5) Draw several streets along one dimension."""
        half_walks, name = boundaries.half_walks(), AXES[axis]
        images = [_rendered(generator, walk_codes(base, half_walks, _WALK))[axis] for base in bases[:_STREETS]]
        columns = [f"{at:+.2f}".replace("-", "−") if at else "0" for at in _WALK]
        rows = [f"Street {k + 1}" for k in range(len(images))]
        note = f"Shares of half a walk along {name}; minus is more deprived."
        figure = canvas.image_grid([list(row) for row in images], rows, columns, note)
        self._write(f"streets-{boundaries.method}-{name}", figure, f"Streets along {name}.", {"at": _plain(_WALK)})

    def differences(self, method: str, differences: np.ndarray, bases: int) -> None:
        """Draw the average difference image of each axis."""
        images, reach = canvas.signed_images(differences)
        figure = canvas.image_grid(
            [list(images)], [""], [axis.capitalize() for axis in AXES], f"Black, white: ∓{reach:.0f}"
        )
        numbers = {"bases": bases, "reach": _plain(reach), "mean": _plain(np.abs(differences).mean((1, 2, 3)))}
        caption = "What the high end has more of (lighter) or less of (darker) than the low end, over all bases."
        self._write(f"differences-{method}", figure, caption, numbers)

    def inversions(
        self, generator: Generator, dataset: Dataset, latents: Sequence[Path], comparison: Path | None
    ) -> None:
        """(6) Draw photographs beside what each method of inversion makes of them.

        Photographs are those of ``comparison.json``, where there is one, and its measures go into the numbers.
        """
        methods = {str(read.metadata.get("method", path.stem)): read for path, read in _read(latents)}
        common = set(dataset.files).intersection(*(read.files for read in methods.values()))
        told = read_json(comparison) if comparison else {}
        chosen = [file for file in told.get("files", dataset.files) if file in common][:_COMPARED]
        if not chosen:
            raise InputError("no photograph was inverted by every method: invert the same photographs with each")
        place = {file: row for row, file in enumerate(dataset.files)}
        columns = [dataset.images([place[f] for f in chosen])]
        for read in methods.values():
            rows = [read.files.index(f) for f in chosen]
            columns.append(render_codes(generator, read.w[rows].astype(np.float32), BATCH))
        grid = [list(row) for row in zip(*columns, strict=True)]
        figure = canvas.image_grid(grid, [""] * len(chosen), ["photograph", *methods])
        numbers = {"shown": chosen, "compared": told.get("n"), "methods": told.get("methods", {})}
        self._write("inversions", figure, "Photographs and what each method of inversion makes of them.", numbers)

    def _write(self, name: str, figure: Any, caption: str, numbers: dict[str, Any]) -> None:
        files = canvas.write_figure(figure, self.folder, name)
        shows_photographs = name in ("photographs", "inversions")
        self.said[name] = {
            "files": [f"{self.folder.name}/{file}" for file in files],
            "caption": caption,
            "local_only": self.local_only and shows_photographs,
            "numbers": numbers,
        }


def _read(paths: Sequence[Path]) -> list[tuple[Path, Any]]:
    return [(path, read_latents(path)) for path in paths]


def _rendered(generator: Generator, codes: np.ndarray) -> np.ndarray:
    """Render codes [3, T, num_ws, w_dim] as [3, T, H, W, 3] uint8."""
    images = render_codes(generator, codes.reshape(-1, *codes.shape[2:]), BATCH)
    return images.reshape(*codes.shape[:2], *images.shape[1:])


def _plane(fit: Fit, axis: int) -> tuple[np.ndarray, float]:
    """Return points [n, 2]: distance by a boundary that has not seen the photograph, and the rest's first component.

    The share of the rest's variance on that component comes second.
    """
    each, normal = fit.axes[axis], fit.boundaries.normals[axis]
    codes = fit.labelled.codes[each.sample.rows]
    rest = codes - codes.mean(0)
    rest = rest - np.outer(rest @ normal, normal)
    _, (size,), (first,) = svds(rest, k=1, v0=np.ones(min(rest.shape)))
    along = rest @ (first * np.sign(first[np.argmax(np.abs(first))]))
    share = float(size**2 / np.square(rest).sum())
    return np.stack([each.seen_by_others[each.sample.rows], along], 1), share


def umap_points(codes: np.ndarray, seed: int) -> np.ndarray:
    """Project codes [n, D] to [n, 2] by UMAP, which must be installed; the same seed gives the same points."""
    from umap import UMAP  # an extra, looked for before any work begins: `Sources.require_umap`

    points: np.ndarray = UMAP(n_neighbors=_NEIGHBOURS, random_state=seed).fit_transform(codes)
    return points


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray | list | tuple):
        return [_plain(v) for v in value]
    return round(float(value), _DIGITS)
