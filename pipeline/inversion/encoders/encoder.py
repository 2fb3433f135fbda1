"""A trained encoder, ready for use: photographs in, codes out, the latent average included."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from atlas.errors import InputError
from pipeline.gan import Generator
from pipeline.inversion.encoders.architecture import EncoderArchitecture
from pipeline.inversion.encoders.networks import build
from pipeline.inversion.inputs import check_unconditional, prepared, to_size


def check_generator(arch: EncoderArchitecture, generator: Generator, file: str) -> None:
    """Refuse a generator whose codes are not those that the encoder gives.

    Raises:
        InputError: the number or size of styles differ, or it is conditional or not RGB.
    """
    if (generator.num_ws, generator.w_dim) != (arch.num_ws, arch.w_dim):
        raise InputError(
            f"{file} gives {arch.num_ws} styles of {arch.w_dim} numbers, the generator takes {generator.num_ws} of "
            f"{generator.w_dim}: use the generator that the encoder was trained for"
        )
    check_unconditional(generator, "the generator")


class Encoder(nn.Module):
    """Photographs → codes.

    Attributes:
        architecture: what it is made of.
        network: gives raw codes.
        latent_avg: [L, D], the generator's mean code, which raw codes are relative to.
        generator: ReStyle's, for the reconstruction between passes; None for e4e.
        stage: of progressive training that it reached: styles beyond have no difference from the first, since none
            was trained. All have where training was whole, and in published files.

    Example:
        >>> E = load_encoder("e4e.safetensors")
        >>> w = E(images)   # [N, 3, H, H] in [-1, 1] → [N, num_ws, w_dim]
    """

    latent_avg: Tensor

    def __init__(self, arch: EncoderArchitecture, latent_avg: Tensor, generator: Generator | None = None) -> None:
        super().__init__()
        self.architecture = arch
        self.network = build(arch)
        self.stage = arch.last_stage
        self.register_buffer("latent_avg", latent_avg.detach().clone().float().expand(arch.num_ws, arch.w_dim).clone())
        self._lent: list[Generator] = [] if generator is None else [generator]  # in a list: no part of this module

    @property
    def generator(self) -> Generator | None:
        """Return the generator that ReStyle looks at its reconstructions with."""
        return self._lent[0] if self._lent else None

    def forward(self, images: Tensor) -> Tensor:
        """Encode photographs.

        Args:
            images: [N, 3, H, H] in [-1, 1], or greyscale [N, 1, H, H], of any size.

        Returns:
            [N, num_ws, w_dim] float32.

        Raises:
            InputError: the photographs are not square, or not of one or three channels.
        """
        codes = self.latent_avg
        for codes in self.passes(images):  # noqa: B007 — the last is wanted
            pass
        return codes

    def passes(self, images: Tensor) -> Iterator[Tensor]:
        """Yield the codes after every pass, [N, num_ws, w_dim]: one for e4e, ``iterations`` for ReStyle."""
        x = prepared(images, self.architecture.size, self.latent_avg)
        codes = self.latent_avg.expand(len(x), -1, -1)
        if self.architecture.method == "e4e":
            yield codes + self.network(x, self.stage)
            return
        look = self.average_image().expand(len(x), -1, -1, -1)
        for done in range(self.architecture.iterations):
            codes = codes + self.network(torch.cat([x, look], 1), self.stage)
            yield codes
            if done + 1 < self.architecture.iterations:
                look = self.render(codes)

    def average_image(self) -> Tensor:
        """Return what the generator makes of the mean code, [1, 3, size, size]: ReStyle's first reconstruction."""
        return self.render(self.latent_avg[None])

    def render(self, codes: Tensor) -> Tensor:
        """Return the generator's images with its own noise, [N, 3, size, size]."""
        if self.generator is None:
            raise InputError("ReStyle looks at its own reconstructions: give load_encoder the generator too")
        return to_size(self.generator.synthesis(codes, noise_mode="const"), self.architecture.size)
