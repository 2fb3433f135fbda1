"""The two encoders in scikit-learn's manner: settings in, `fit` trains, `invert` gives codes."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Self

import torch
from torch import Tensor

from atlas.errors import InputError
from atlas.preset import EncoderSettings
from atlas.progress import Progress, silent
from atlas.stage import Log
from pipeline.gan import Generator, load_generator
from pipeline.inversion.encoders.encoder import Encoder
from pipeline.inversion.encoders.files import load_encoder
from pipeline.inversion.encoders.training import train_encoder


@dataclass
class _EncoderInversion:
    """What e4e and ReStyle share.

    Args:
        settings: the preset's ``[encoder]``.
        seed: of weights, order and chance.
        device: where PyTorch runs.
        batch: photographs encoded at once.

    Attributes:
        encoder_: the trained encoder; there after `fit` or `load`.
    """

    method: ClassVar[str]
    settings: EncoderSettings = field(default_factory=EncoderSettings)
    seed: int = 1
    device: str = "cpu"
    batch: int = 64
    encoder_: Encoder = field(init=False, repr=False)

    def fit(
        self,
        generator: Path,
        dataset: Path,
        out: Path,
        *,
        resume: bool = True,
        log: Log = print,
        progress: Progress = silent,
    ) -> Self:
        """Train on the photographs that are not held out, into ``out`` (see `train_encoder`, also for errors).

        A training goes on over days and through kills, so it works on files, where the projector's `fit`, which trains
        nothing, takes a generator alone.
        """
        train_encoder(
            self.method,
            generator,
            dataset,
            self.settings,
            self.seed,
            out,
            device=self.device,
            resume=resume,
            log=log,
            progress=progress,
        )
        return self.load(out, generator)

    def load(self, path: str | Path, generator: Generator | str | Path | None = None) -> Self:
        """Take an encoder from a file, ours or a published one (see `load_encoder`, also for errors).

        Args:
            path: of the encoder.
            generator: whose codes it gives, itself or its file; needed by ReStyle.

        Raises:
            InputError: the file holds the other method's encoder.
        """
        network = load_generator(generator, self.device) if isinstance(generator, str | Path) else generator
        encoder = load_encoder(path, self.device, network)
        if encoder.architecture.method != self.method:
            raise InputError(f"{path} is an encoder of {encoder.architecture.method}, not of {self.method}")
        self.encoder_ = encoder
        return self

    @torch.no_grad()
    def invert(self, images: Tensor, progress: Progress = silent) -> Tensor:
        """Return the code of each photograph.

        Args:
            images: [N, 3, H, H] in [-1, 1], or greyscale [N, 1, H, H], of any size.
            progress: told the number of photographs.

        Returns:
            [N, num_ws, w_dim] float32.

        Raises:
            InputError: `fit` or `load` was not called, or the images are not square photographs.
        """
        if not hasattr(self, "encoder_"):
            raise InputError(f"this {self.method} has no encoder yet: call fit or load first")
        arch, codes = self.encoder_.architecture, []
        for start in range(0, len(images), self.batch):
            codes.append(self.encoder_(images[start : start + self.batch]))
            progress(min(start + self.batch, len(images)), len(images))
        return torch.cat(codes) if codes else torch.zeros(0, arch.num_ws, arch.w_dim)


@dataclass
class E4E(_EncoderInversion):
    """Encoder4Editing (Tov et al. 2021).

    Example:
        >>> e4e = E4E(EncoderSettings(steps=1500)).fit(generator, dataset, Path("e4e.safetensors"))
        >>> e4e.invert(images)   # [N, num_ws, w_dim]
    """

    method: ClassVar[str] = "e4e"


@dataclass
class ReStyle(_EncoderInversion):
    """ReStyle (Alaluf et al. 2021), refining with a pSp-style or an e4e-style encoder (``settings.variant``).

    Example:
        >>> restyle = ReStyle(EncoderSettings(variant="psp")).fit(generator, dataset, Path("restyle.safetensors"))
        >>> restyle.invert(images)   # [N, num_ws, w_dim]
    """

    method: ClassVar[str] = "restyle"
