"""Validation from files: the boundaries are fitted as the stage fits them, and walked on the calibration street."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from atlas.files import sha256_path
from atlas.preset import BoundarySettings
from atlas.progress import Progress, silent
from pipeline.boundaries.evidence import walked_bases
from pipeline.boundaries.fitting import fit_boundaries
from pipeline.boundaries.sample import join
from pipeline.boundaries.validation import planted_attributes, validate
from pipeline.gan import load_generator
from pipeline.inversion.latents import read_latents, require_codes_for, require_made_from
from pipeline.photos.dataset import open_dataset


def validate_files(
    generator: Path,
    latents: Path,
    dataset: Path,
    settings: BoundarySettings,
    seed: int,
    device: str,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Validate one method; arguments are files as the stage ``boundaries`` takes them, the result is `validate`'s.

    Raises:
        InputError: the dataset is no calibration street, the latents are not the generator's, or see
            `join` and `fit_boundaries`.
    """
    street = open_dataset(dataset)
    planted_attributes(street)
    G = load_generator(generator, device=device)
    codes = read_latents(latents)
    require_codes_for(codes, latents, G.num_ws, G.w_dim)
    require_made_from(codes, latents, generator_sha256=sha256_path(generator))
    method = str(codes.metadata.get("method", latents.stem))
    fit = fit_boundaries(join(codes, street), settings, seed, method, (codes.w.shape[1], codes.w.shape[2]))
    return {"method": method, **validate(G, fit, street, walked_bases(G, settings, seed), seed, progress)}
