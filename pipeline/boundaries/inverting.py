"""Rendered walks, inverted again as the photographs were: the same method, space and settings."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from atlas.errors import InputError
from atlas.stage import Log
from pipeline.boundaries.measured import Invert
from pipeline.features import PERCEPTUAL_NAME
from pipeline.gan import Generator
from pipeline.inversion.encoders.files import load_encoder_of
from pipeline.inversion.projector import Projector
from pipeline.inversion.schedule import ProjectorSettings

_BATCH = 32
_MEAN = "mean of w"


@dataclass(frozen=True)
class Again:
    """How rendered walks are inverted.

    Attributes:
        encoders: by method, the trained encoder.
        steps: of the projector.
        seed: of the projector's random streams.
        device: where PyTorch runs.
        log: is told where an encoder is missing.
    """

    encoders: Mapping[str, Path]
    steps: int
    seed: int
    device: str
    log: Log

    def inverter(self, generator: Generator, method: str, space: str, facts: Mapping[str, Any]) -> Invert | None:
        """Return what finds the codes of images as the photographs' were found, None where an encoder is missing.

        Args:
            generator: in eval mode.
            method: of inversion.
            space: "w" or "w+", of codes whose metadata do not say.
            facts: the metadata of the photographs' latents: the projector's settings, and where it started.

        Raises:
            InputError: the metadata hold settings that this projector does not have.
        """
        encoder = _start(facts) if method == "projector" else method
        if encoder is not None and encoder not in self.encoders:
            self.log(f"boundaries: rendered walks of {method} are not inverted again: no encoder {encoder} was given")
            return None
        encode = self._by_encoder(generator, encoder) if encoder else None
        return self._by_projector(generator, space, facts, encode) if method == "projector" else encode

    def _by_projector(self, generator: Generator, space: str, facts: Mapping[str, Any], start: Invert | None) -> Invert:
        told = facts.get("projector", {"space": space})
        features = facts.get("features", PERCEPTUAL_NAME)
        if features != PERCEPTUAL_NAME:
            self.log(f"boundaries: photographs were projected by {features}, rendered walks are by {PERCEPTUAL_NAME}")
        try:
            settings = dataclasses.replace(ProjectorSettings(**told), steps=self.steps)
        except TypeError as error:
            raise InputError(
                f"the latents' settings of the projector cannot be read ({error}): invert the photographs again"
            ) from error
        projector = Projector(settings, self.seed).fit(generator)

        def project(images: np.ndarray) -> np.ndarray:
            names = [f"walk {k}" for k in range(len(images))]
            first = None if start is None else torch.from_numpy(start(images)).to(self.device)
            return projector.invert(_tensors(images, self.device), names, first).cpu().numpy()

        return project

    def _by_encoder(self, generator: Generator, method: str) -> Invert:
        encoder = load_encoder_of(method, self.encoders[method], generator, self.device)

        def encode(images: np.ndarray) -> np.ndarray:
            with torch.no_grad():
                parts = [encoder(part) for part in _tensors(images, self.device).split(_BATCH)]
            return torch.cat(parts).float().cpu().numpy()

        return encode


def _start(facts: Mapping[str, Any]) -> str | None:
    """Return whose codes the projector started from, None for the mean of w."""
    start = str(facts.get("start", _MEAN))
    return None if start == _MEAN else start


def _tensors(images: np.ndarray, device: str) -> torch.Tensor:
    """Turn [N, H, W, 3] uint8 into [N, 3, H, W] in [−1, 1]."""
    return torch.from_numpy(images).to(device).permute(0, 3, 1, 2).float() / 127.5 - 1
