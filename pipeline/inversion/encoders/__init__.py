"""Encoders, photographs → latent codes in one pass (e4e) or a few (ReStyle). Public names load when first used."""

from __future__ import annotations

from typing import TYPE_CHECKING

from atlas.lazy import lazy

__all__ = ["E4E", "Encoder", "EncoderArchitecture", "ReStyle", "load_encoder", "save_encoder"]

_HOMES = {
    "E4E": "pipeline.inversion.encoders.estimators",
    "Encoder": "pipeline.inversion.encoders.encoder",
    "EncoderArchitecture": "pipeline.inversion.encoders.architecture",
    "ReStyle": "pipeline.inversion.encoders.estimators",
    "load_encoder": "pipeline.inversion.encoders.files",
    "save_encoder": "pipeline.inversion.encoders.files",
}

if TYPE_CHECKING:
    from pipeline.inversion.encoders.architecture import EncoderArchitecture
    from pipeline.inversion.encoders.encoder import Encoder
    from pipeline.inversion.encoders.estimators import E4E, ReStyle
    from pipeline.inversion.encoders.files import load_encoder, save_encoder

__getattr__, __dir__ = lazy(__name__, _HOMES)
