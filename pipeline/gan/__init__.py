"""StyleGAN2-ADA: networks, checkpoints and training. Public names are loaded when first used."""

from __future__ import annotations

from typing import TYPE_CHECKING

from atlas.lazy import lazy

__all__ = ["Discriminator", "Generator", "load_discriminator", "load_generator", "save_network"]

_HOMES = {
    "Discriminator": "pipeline.gan.networks",
    "Generator": "pipeline.gan.networks",
    "load_discriminator": "pipeline.gan.checkpoint",
    "load_generator": "pipeline.gan.checkpoint",
    "save_network": "pipeline.gan.checkpoint",
}

if TYPE_CHECKING:
    from pipeline.gan.checkpoint import load_discriminator, load_generator, save_network
    from pipeline.gan.networks import Discriminator, Generator

__getattr__, __dir__ = lazy(__name__, _HOMES)
