"""The latent code of each photograph: how it is found, what it loses, and its file. Loaded when first used."""

from __future__ import annotations

from typing import TYPE_CHECKING

from atlas.lazy import lazy

__all__ = [
    "E4E",
    "Latents",
    "Projected",
    "Projector",
    "ProjectorSettings",
    "ReStyle",
    "load_encoder",
    "read_latents",
    "save_encoder",
    "synthesise",
    "write_latents",
]

_HOMES = {
    "E4E": "pipeline.inversion.encoders",
    "Latents": "pipeline.inversion.latents",
    "Projected": "pipeline.inversion.projector",
    "Projector": "pipeline.inversion.projector",
    "ProjectorSettings": "pipeline.inversion.schedule",
    "ReStyle": "pipeline.inversion.encoders",
    "load_encoder": "pipeline.inversion.encoders",
    "read_latents": "pipeline.inversion.latents",
    "save_encoder": "pipeline.inversion.encoders",
    "synthesise": "pipeline.inversion.noise",
    "write_latents": "pipeline.inversion.latents",
}

if TYPE_CHECKING:
    from pipeline.inversion.encoders import E4E, ReStyle, load_encoder, save_encoder
    from pipeline.inversion.latents import Latents, read_latents, write_latents
    from pipeline.inversion.noise import synthesise
    from pipeline.inversion.projector import Projected, Projector
    from pipeline.inversion.schedule import ProjectorSettings

__getattr__, __dir__ = lazy(__name__, _HOMES)
