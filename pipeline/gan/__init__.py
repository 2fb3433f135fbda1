"""StyleGAN2-ADA: networks, checkpoints and training. Public names are loaded when first used."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

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


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'pipeline.gan' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
