"""Everything that is said about the boundaries, method by method; long parts are kept while the work goes on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from atlas.grid import AXES
from atlas.licence import local_only
from atlas.preset import BoundarySettings
from atlas.progress import Progress
from atlas.stage import Log
from pipeline.boundaries.changes import measure_changes
from pipeline.boundaries.evaluation import evaluate
from pipeline.boundaries.figures.sheets import Figures
from pipeline.boundaries.fitting import (
    Fit,
    axis_seed,
    case_of,
    direction_spread,
    fit_boundaries,
    percentile_curves,
)
from pipeline.boundaries.inverting import Again
from pipeline.boundaries.kept import Kept
from pipeline.boundaries.looks import LOOKS, looks
from pipeline.boundaries.measured import measured_moves
from pipeline.boundaries.references import REFERENCES, reference_codes
from pipeline.boundaries.report import Cells, build_report, chance_warnings, direction_warnings, method_report
from pipeline.boundaries.sample import Labelled, join, label
from pipeline.boundaries.sources import Sources
from pipeline.boundaries.store import Boundaries
from pipeline.boundaries.validation import validate
from pipeline.gan import Generator, load_generator
from pipeline.gan.rendering import random_codes
from pipeline.inversion.latents import Latents, read_latents, require_codes_for
from pipeline.photos.dataset import Dataset, open_dataset

TRUNCATION = 0.7
"""Of the random bases that are walked to measure: as the atlas's own by default."""

_INVERSION_FACTS = ("steps", "features", "photographs", "of_photographs", "chosen", "mean", "baseline")
_LOOKED_AT = 2000  # photographs behind the spread of the looks


@dataclass(frozen=True, eq=False)
class Evidence:
    """Gathers the evidence.

    Attributes:
        sources: what is read.
        settings: of the boundaries.
        seed: of everything that chance decides.
        kept: remembers long parts.
        figures: where figures go; None for none.
        log: takes one line of news.
        progress: told of parts.
    """

    sources: Sources
    settings: BoundarySettings
    seed: int
    kept: Kept
    figures: Path | None
    log: Log
    progress: Progress

    def gather(self) -> tuple[list[Boundaries], dict[str, Any]]:
        """Fit and measure everything; return the boundaries of every method, and the report."""
        self.sources.require_umap(self.settings)
        self.sources.require_belonging(self.generator)
        if self._local_only:
            self.log(
                "boundaries: the photographs' licence reserves all rights, or none is stated: figures that show them "
                "are marked local_only and are not to be published"
            )
        boundaries: dict[str, Boundaries] = {}
        methods: dict[str, dict[str, Any]] = {}
        cells: list[Cells] = []
        photographs: dict[bytes, tuple[np.ndarray, list[str]]] = {}  # whose rows of the dataset are the same ones
        warnings: list[str] = []
        for number, path in enumerate(self.sources.latents):
            latents = read_latents(path)
            method = str(latents.metadata.get("method", path.stem))
            if self.generator is not None:
                require_codes_for(latents, path, self.generator.num_ws, self.generator.w_dim)
            labelled = join(latents, self.dataset)
            fit = fit_boundaries(labelled, self.settings, self.seed, method, (latents.w.shape[1], latents.w.shape[2]))
            cells.append(Cells(method, self._cells(method, labelled, self.settings)))
            photographs.setdefault(labelled.rows.tobytes(), (labelled.rows, []))[1].append(method)
            methods[method] = self._method(fit, latents)
            told = methods[method]
            said = direction_warnings(method, told["directions"], told["survives"], told["retained"])
            said += chance_warnings(method, cells[-1].found)
            warnings += said
            boundaries[method] = replace(
                fit.boundaries, warnings=said, generator_sha256=str(latents.metadata.get("generator_sha256", ""))
            )
            del latents, labelled, fit  # the next method's codes shall not lie beside these
            self.progress(number + 1, len(self.sources.latents) + 1)
        cells += self._references(list(photographs.values()))
        report = build_report(methods, cells, self._about(), self.settings, self.seed)
        report["warnings"] = warnings
        report["figures"] = self._shared_figures()
        self.progress(1, 1)
        return list(boundaries.values()), report

    @cached_property
    def dataset(self) -> Dataset:
        """Return the photographs."""
        return open_dataset(self.sources.dataset)

    @cached_property
    def generator(self) -> Generator | None:
        """Return the generator, None if none was given."""
        if self.sources.generator is None:
            return None
        return load_generator(self.sources.generator, device=self.sources.device)

    @cached_property
    def drawn(self) -> Figures | None:
        """Return what draws the figures, None where none are wanted."""
        if self.figures is None:
            return None
        return Figures(self.figures, self._local_only, self.seed, {})

    @property
    def _local_only(self) -> bool:
        return local_only(str(self.dataset.meta.get("licence", "")))

    @cached_property
    def _spread(self) -> dict[str, float]:
        """Return the standard deviation of each look over the photographs."""
        count = min(_LOOKED_AT, len(self.dataset))
        rows = np.sort(np.random.default_rng(self.seed).permutation(len(self.dataset))[:count])
        found = looks(self.dataset.images(rows))
        return {name: float(found[name].std()) for name in LOOKS}

    @property
    def _again(self) -> Again:
        sources, settings = self.sources, self.settings
        return Again(sources.encoders, settings.reinvert_steps, self.seed, sources.device, self.log)

    def _about(self) -> dict[str, Any]:
        photos = self.dataset.photos
        return {
            "photographs": len(photos),
            "areas": len({photo.area for photo in photos}),
            "blocks": len({photo.group for photo in photos}),
            "local_only": self._local_only,
        }

    def _cells(self, name: str, labelled: Labelled, settings: BoundarySettings) -> list[dict[str, Any]]:
        """Evaluate every axis by both protocols; ``name`` is that of the part to keep."""
        found = []
        for axis in range(len(AXES)):

            def make(axis: int = axis) -> dict[str, Any]:
                _, case = case_of(labelled, axis, settings, self.seed)
                return evaluate(case, settings, axis_seed(self.seed, axis))

            found.append(self.kept(f"{name}-{AXES[axis]}", make))
        return found

    def _method(self, fit: Fit, latents: Latents) -> dict[str, Any]:
        method = fit.boundaries.method
        report = method_report(fit)
        report["inversion"] = {k: latents.metadata[k] for k in _INVERSION_FACTS if k in latents.metadata}
        report["spread"] = self.kept(f"{method}-spread", lambda: direction_spread(fit, self.seed))
        report["units"] = percentile_curves(fit, self.seed)
        if self.generator is not None:
            report |= self._rendered(self.generator, fit, latents.metadata)
        return report

    def _rendered(self, generator: Generator, fit: Fit, facts: Mapping[str, Any]) -> dict[str, Any]:
        """Return what can only be said by looking at the generator's images."""
        bases, method = walked_bases(generator, self.settings, self.seed), fit.boundaries.method
        changes = measure_changes(generator, fit.boundaries, bases, self._spread, self.seed)
        report: dict[str, Any] = {"changes": changes.report}
        invert = self._again.inverter(generator, method, fit.boundaries.space, facts)
        if invert is not None and self.settings.reinverted:
            some, c = bases[: self.settings.reinverted], tuple(each.machine.c for each in fit.axes)
            report["moves"] = self.kept(
                f"{method}-moves",
                lambda: measured_moves(
                    generator, fit.labelled, c, fit.boundaries, some, invert, self.settings, self.seed
                ),
            )
        if "planted" in self.dataset.meta:
            report["validation"] = self.kept(
                f"{method}-validation", lambda: validate(generator, fit, self.dataset, bases, self.seed)
            )
        if self.drawn is not None:
            self._method_figures(generator, fit, bases, changes.differences)
        return report

    def _references(self, photographs: Sequence[tuple[np.ndarray, list[str]]]) -> list[Cells]:
        """Evaluate pretrained features and the mean colour in the same way, of the photographs of every method.

        C is chosen inside the training part even where it is set for the codes: 1,280 features, or 3 colours, ask for
        another one, and a reference that is fitted badly makes every method look good.

        Args:
            photographs: rows of the dataset, and the methods that have codes of exactly these.
        """
        settings = replace(self.settings, c=0.0)
        every = np.unique(np.concatenate([rows for rows, _ in photographs]))
        codes = reference_codes(self.dataset, every, self.sources.device)
        cells = []
        for rows, methods in photographs:
            mine = np.searchsorted(every, rows)
            for name in REFERENCES:
                labelled = label(self.dataset, rows, codes[name][mine])
                found = self._cells(f"{name}-of-{methods[0]}", labelled, settings)
                cells.append(Cells(name, found, tuple(methods)))
        return cells

    def _method_figures(self, generator: Generator, fit: Fit, bases: np.ndarray, differences: np.ndarray) -> None:
        drawn = self.drawn
        assert drawn is not None
        drawn.matrix(generator, fit.boundaries, bases[0])
        drawn.differences(fit.boundaries.method, differences, len(bases))
        for axis in range(len(AXES)):
            drawn.projection(fit, axis, self.settings.umap)
            drawn.streets(generator, fit.boundaries, bases, axis)

    def _shared_figures(self) -> dict[str, Any]:
        """Draw the figures that are of no single method, and return what is said of all of them."""
        if self.drawn is None or self.generator is None:
            return {}
        self.drawn.photographs(self.dataset)
        self.drawn.latent_map(self.generator, self.seed)
        self.drawn.inversions(self.generator, self.dataset, self.sources.latents, self.sources.comparison)
        return dict(sorted(self.drawn.said.items()))


def walked_bases(generator: Generator, settings: BoundarySettings, seed: int) -> np.ndarray:
    """Return the bases that are walked to measure, [B, num_ws, w_dim] float32."""
    return random_codes(generator, settings.bases, TRUNCATION, seed)
