"""The files behind the evidence: that each is used, and that they belong together, before any long work begins."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from atlas.errors import InputError
from atlas.files import sha256_path
from atlas.preset import BoundarySettings
from pipeline.gan import Generator
from pipeline.inversion.encoders.files import load_encoder_of
from pipeline.inversion.latents import latents_facts, require_facts


@dataclass(frozen=True)
class Sources:
    """The files that the evidence is made from; see `pipeline.boundaries.stages.boundaries_stage`."""

    latents: tuple[Path, ...]
    dataset: Path
    generator: Path | None
    encoders: Mapping[str, Path]
    comparison: Path | None
    device: str

    def require_used(self, settings: BoundarySettings) -> None:
        """Refuse what would be ignored.

        Raises:
            InputError: no latents; something that needs rendered images and no generator; a drawing of no figures;
                more bases to invert again than are walked.
        """
        if not self.latents:
            raise InputError("boundaries need latent codes: give the file of at least one method")
        if self.generator is None:
            given = {"encoders": self.encoders, "a comparison": self.comparison, "UMAP": settings.umap}
            for name in (name for name, value in given.items() if value):
                raise InputError(f"{name} can be used with a generator only, whose images they go with: give it too")
            return
        if settings.umap and not settings.figures:
            raise InputError("UMAP draws figures, and figures are switched off: choose one of the two")
        if settings.reinverted > settings.bases:
            raise InputError(
                f"of the {settings.bases} bases that are walked, {settings.reinverted} cannot be inverted again: "
                "raise bases or lower reinverted"
            )

    def require_umap(self, settings: BoundarySettings) -> None:
        """Refuse to begin what will end at a package that is not there.

        Raises:
            InputError: UMAP is asked for and not installed.
        """
        if settings.umap and importlib.util.find_spec("umap") is None:
            raise InputError(
                'umap = true needs umap-learn, which is not installed: `pip install "inequality-atlas[umap]"`'
            )

    def require_belonging(self, generator: Generator | None) -> None:
        """Refuse latents of one method twice, and networks that the photographs were not inverted with.

        Args:
            generator: as loaded; None if none was given.

        Raises:
            InputError: so.
        """
        methods: dict[str, tuple[Path, dict[str, Any]]] = {}
        for path in self.latents:
            facts = latents_facts(path)
            method = str(facts.get("method", path.stem))
            if method in methods:
                raise InputError(
                    f"{path} holds codes of method {method}, which another file does too: give one of them"
                )
            methods[method] = path, facts
        if self.generator is not None:
            sha256 = sha256_path(self.generator)
            for path, facts in methods.values():
                require_facts(facts, path, generator_sha256=sha256)
        starts = {str(facts.get("start")) for _, facts in methods.values()}
        for method, encoder in self.encoders.items():
            if method not in methods and method not in starts:
                raise InputError(
                    f"an encoder of {method} was given, by which none of these photographs were inverted: "
                    f"there are codes of {', '.join(methods)}"
                )
            assert generator is not None  # `require_used`
            load_encoder_of(method, encoder, generator, self.device)
            if method in methods:
                path, facts = methods[method]
                require_facts(facts, path, encoder_sha256=sha256_path(encoder))
