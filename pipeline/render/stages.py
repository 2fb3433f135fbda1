"""The stage ``render``: generator and boundaries in, archive out."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from atlas.archive import ArchiveInfo, discard_archive
from atlas.errors import InputError
from atlas.files import sha256_path
from atlas.grid import Grid
from atlas.licence import local_only
from atlas.preset import RenderSettings
from atlas.progress import Progress, silent
from atlas.stage import Stage
from pipeline.boundaries.store import Boundaries, layered, read_boundaries, step_sizes
from pipeline.gan import Generator, load_generator
from pipeline.inversion.latents import read_latents, require_codes_for, require_made_from
from pipeline.photos.dataset import open_dataset
from pipeline.render.bases import Bases, inverted_bases, parse_bases, random_bases
from pipeline.render.rendering import render_grid
from pipeline.render.walks import Walks

VERSION = 3
_AFTER_PHOTOGRAPHS = (
    "The streets that the sliders start from are drawn after photographs whose licence reserves all rights, or which "
    "state none: they may be shown only with leave of whoever holds the rights"
)


@dataclass(frozen=True)
class RenderSources:
    """The files a grid is rendered from.

    Attributes:
        generator: ``generator.safetensors``.
        boundaries: ``boundaries.safetensors``.
        latents: the codes of photographs; needed for ``inverted:`` bases only.
        dataset: the photographs' dataset, for its licence and attribution; None states neither.
    """

    generator: Path
    boundaries: Path
    latents: Path | None = None
    dataset: Path | None = None


def render_stage(
    sources: RenderSources,
    settings: RenderSettings,
    title: str,
    seed: int,
    device: str,
    out: Path,
    record: Path,
    progress: Progress = silent,
) -> tuple[Stage, Callable[[bool], None]]:
    """Return the stage that renders the grid, and its work.

    Args:
        sources: what it reads.
        settings: bases, steps, truncation, batch, and the inversion method whose boundaries are walked.
        title: of the archive.
        seed: of the random bases and of typicality.
        device: where the generator runs.
        out: ``NAME.zarr``.
        record: the stage's record.
        progress: told of planes.

    Raises:
        InputError: ``bases`` cannot be read, or needs latents that were not given. The work refuses boundaries and
            latents that were made with another generator.
    """
    kind, wanted = parse_bases(settings.bases)
    inputs = {"generator": sources.generator, "boundaries": sources.boundaries}
    if kind == "inverted":
        if sources.latents is None:
            raise InputError(f"bases {settings.bases} need the latents of the photographs: give --latents FILE")
        inputs["latents"] = sources.latents
    if sources.dataset is not None:
        inputs["dataset"] = sources.dataset
    stage = Stage(
        name="render",
        version=VERSION,
        record=record,
        inputs=inputs,
        settings={**dataclasses.asdict(settings), "title": title, "seed": seed},
        outputs={"archive": out},
        discard=lambda: discard_archive(out),
    )

    def work(resume: bool) -> None:
        generator = load_generator(sources.generator, device=device)
        boundaries = read_boundaries(sources.boundaries, settings.method)
        sha256 = sha256_path(sources.generator)
        _require_same(sources, generator, sha256, boundaries)
        if isinstance(wanted, int):
            bases = random_bases(generator, wanted, settings.truncation, seed)
        else:
            assert sources.latents is not None
            latents = read_latents(sources.latents)
            require_codes_for(latents, sources.latents, generator.num_ws, generator.w_dim)
            require_made_from(latents, sources.latents, generator_sha256=sha256)
            bases = inverted_bases(latents, wanted)
        walks = _walks(generator, bases, boundaries, settings.steps)
        render_grid(
            generator,
            walks,
            _info(sources, generator, boundaries, bases, walks.grid, settings, stage),
            out,
            scores=walks.scores(boundaries),
            typicality=walks.typicality(generator, seed),
            batch=settings.batch,
            resume=resume,
            progress=progress,
        )

    return stage, work


def _require_same(sources: RenderSources, generator: Generator, sha256: str, boundaries: Boundaries) -> None:
    """Refuse boundaries that were found among the codes of another generator."""
    shapes = (boundaries.num_ws, boundaries.w_dim), (generator.num_ws, generator.w_dim)
    if shapes[0] != shapes[1] or boundaries.generator_sha256 not in ("", sha256):
        raise InputError(
            f"the boundaries in {sources.boundaries} were found with another generator than {sources.generator}: "
            "give the generator that the photographs were inverted with"
        )


def _walks(generator: Generator, bases: Bases, boundaries: Boundaries, steps: int) -> Walks:
    """Size the steps for a grid of ±``steps`` and spread one code over all layers where boundaries live in W."""
    vectors = boundaries.directions * step_sizes(boundaries, steps)[:, None]
    step_vectors = layered(vectors, generator.num_ws, generator.w_dim)
    return Walks(Grid(len(bases.names), steps), bases.codes, step_vectors)


def _info(
    sources: RenderSources,
    generator: Generator,
    boundaries: Boundaries,
    bases: Bases,
    grid: Grid,
    settings: RenderSettings,
    stage: Stage,
) -> ArchiveInfo:
    meta = open_dataset(sources.dataset).meta if sources.dataset else {}
    licence = str(meta.get("licence", ""))
    reserved = parse_bases(settings.bases)[0] == "inverted" and local_only(licence)
    return ArchiveInfo(
        title=stage.settings["title"],
        name=stage.outputs["archive"].stem,
        grid=grid,
        size=generator.img_resolution,
        num_ws=generator.num_ws,
        w_dim=generator.w_dim,
        method=stage.settings["method"],
        generator_sha256=sha256_path(sources.generator),
        boundaries_sha256=sha256_path(sources.boundaries),
        licence=licence,
        attribution=meta.get("attribution", ""),
        truncation=settings.truncation,
        seed=stage.settings["seed"],
        base_names=bases.names,
        warnings=(*boundaries.warnings, *((_AFTER_PHOTOGRAPHS,) if reserved else ())),
    )
