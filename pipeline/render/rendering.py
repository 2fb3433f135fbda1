"""Every node of the grid, rendered once, plane by plane, into an archive."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from atlas.archive import ArchiveInfo, ArchiveWriter
from atlas.files import require_space
from atlas.progress import Progress, silent
from pipeline.gan import Generator
from pipeline.gan.rendering import render_codes
from pipeline.render.walks import Walks


def render_grid(
    generator: Generator,
    walks: Walks,
    info: ArchiveInfo,
    out: Path,
    *,
    scores: np.ndarray,
    typicality: np.ndarray,
    batch: int,
    resume: bool,
    progress: Progress = silent,
) -> None:
    """Render all nodes of ``walks`` into ``out``; planes that a killed run finished are kept.

    Args:
        generator: in eval mode, on the device to render on.
        walks: the grid of codes.
        info: what the archive says of itself.
        out: the archive, ``NAME.zarr``.
        scores: signed distances at every node, [base, health, income, education, 3] float32.
        typicality: [base, health, income, education] float32, 0 … 1.
        batch: images per call of the generator.
        resume: keep the whole shards of an archive of exactly this content.
        progress: told of planes.

    Raises:
        SpaceError: the disk cannot hold the images uncompressed.
    """
    grid = walks.grid
    require_space(out.parent, grid.images * info.size**2 * 3, f"an archive of {grid.images} images")
    writer = ArchiveWriter.create(out, info, walks.bases, walks.directions, resume=resume)
    planes = list(grid.planes())
    for done, (base, health) in enumerate(planes):
        if not writer.has_plane(base, health):
            codes = walks.plane(base, health)
            flat = codes.reshape(-1, *codes.shape[2:])
            images = render_codes(generator, flat, batch)
            writer.write_plane(base, health, images.reshape(grid.side, grid.side, *images.shape[1:]))
        progress(done + 1, len(planes))
    writer.finish(scores, typicality)
