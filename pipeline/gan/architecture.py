"""What a generator or discriminator is made of: the numbers that fix every tensor's shape, and how to read them off.

An architecture is written as JSON into a checkpoint's metadata; where a file has none, it is inferred from the
shapes of the tensors. This module imports no PyTorch.
"""

from __future__ import annotations

import dataclasses
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from atlas.errors import InputError

Shapes = Mapping[str, Sequence[int]]


def resolutions(img_resolution: int) -> list[int]:
    """Return 4, 8, … up to and including ``img_resolution``, a power of two."""
    return [2**k for k in range(2, img_resolution.bit_length())]


def channel_widths(img_resolution: int, channel_base: int, channel_max: int) -> tuple[int, ...]:
    """Return the number of channels at 4, 8, … ``img_resolution``: min(channel_base // resolution, channel_max)."""
    return tuple(min(channel_base // r, channel_max) for r in resolutions(img_resolution))


_MAY_BE_ZERO = {"c_dim", "cmap_dim", "mapping_layers", "mbstd_channels"}


LARGEST = 1 << 16  # of the numbers that size tensors: with larger ones, numbers would not be counted in 64 bits


@dataclass(frozen=True)
class _Architecture:
    def to_json(self) -> str:
        """Return the architecture as JSON text."""
        return json.dumps(dataclasses.asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str, file: str) -> Self:
        """Read what `to_json` wrote.

        Raises:
            InputError: not JSON, or a key is missing or unknown.
        """
        try:
            table = json.loads(text)
            return cls(**{k: tuple(v) if isinstance(v, list) else v for k, v in table.items()})
        except (TypeError, ValueError, AttributeError) as error:
            raise InputError(f"{file}: the architecture in its metadata cannot be read ({error})") from error

    def check(self, file: str) -> Self:
        """Return itself if the numbers make a network.

        Raises:
            InputError: one is out of range; the message names it.
        """
        table = dataclasses.asdict(self)
        for name, value in table.items():
            least = 0 if name in _MAY_BE_ZERO else 1
            numbers = value if isinstance(value, tuple) else (value,)
            if name == "conv_clamp":
                sound = value is None or (isinstance(value, int | float) and value > 0)
            else:
                most = math.inf if name == "mbstd_group" else LARGEST  # it sizes no tensor, and may mean "all"
                sound = all(isinstance(n, int) and least <= n <= most for n in numbers)
                sound = sound and isinstance(value, tuple) == (name == "channels")
            if not sound:
                raise InputError(f"{file} describes no network: its {name} is {value}")
        side, depth = table["img_resolution"], len(table["channels"])
        if len(resolutions(side)) != depth or side != 2 << depth:
            raise InputError(f"{file} describes no network: its img_resolution is {side} with {depth} widths")
        return self

    @property
    def layers(self) -> int:
        """Return how many blocks and mapping layers there are; each has a tensor or more."""
        table = dataclasses.asdict(self)
        return len(table["channels"]) + int(table["mapping_layers"])

    def differences(self, other: _Architecture) -> str:
        """Return where two architectures differ, in words; empty when the same."""
        mine, others = dataclasses.asdict(self), dataclasses.asdict(other)
        return "; ".join(f"{k} is {mine[k]} against {others[k]}" for k in mine if mine[k] != others[k])


@dataclass(frozen=True)
class GeneratorArchitecture(_Architecture):
    """A StyleGAN2 generator with skip connections.

    Attributes:
        z_dim, c_dim, w_dim: size of the latent, the condition (0: none) and the intermediate latent.
        img_resolution: side of the square image, a power of two from 4 up.
        img_channels: 3 for RGB.
        mapping_layers: fully connected layers of the mapping network.
        channels: width at resolution 4, 8, … img_resolution.
        conv_clamp: limit on the activations, None for none.
    """

    z_dim: int
    c_dim: int
    w_dim: int
    img_resolution: int
    img_channels: int
    mapping_layers: int
    channels: tuple[int, ...]
    conv_clamp: float | None = None

    @property
    def num_ws(self) -> int:
        """Return how many w vectors drive the synthesis: 2·log2(resolution) − 2."""
        return 2 * len(self.channels)

    @classmethod
    def infer(cls, shapes: Shapes, file: str) -> Self:
        """Read the architecture off the tensors' shapes.

        Raises:
            InputError: the names are not those of a generator; the message says what was looked for.
        """
        found = _resolutions_found(shapes, r"synthesis\.b(\d+)\.torgb\.weight", "synthesis.bR.torgb.weight", file)
        channels = tuple(_shape(shapes, f"synthesis.b{r}.torgb.weight", 4, file)[1] for r in found)
        layers = sum(1 for name in shapes if re.fullmatch(r"mapping\.fc\d+\.weight", name))
        first = _shape(shapes, "mapping.fc0.weight", 2, file)
        last = _shape(shapes, f"mapping.fc{layers - 1}.weight", 2, file)
        embed = tuple(shapes["mapping.embed.weight"]) if "mapping.embed.weight" in shapes else (0, 0)
        return cls(
            z_dim=first[1] - embed[0],
            c_dim=embed[1],
            w_dim=last[0],
            img_resolution=found[-1],
            img_channels=_shape(shapes, f"synthesis.b{found[-1]}.torgb.weight", 4, file)[0],
            mapping_layers=layers,
            channels=channels,
        )


@dataclass(frozen=True)
class DiscriminatorArchitecture(_Architecture):
    """A StyleGAN2 discriminator with residual connections.

    Attributes:
        c_dim: size of the condition (0: none).
        img_resolution, img_channels: of the images it judges.
        channels: width at resolution 4, 8, … img_resolution.
        cmap_dim: size of the mapped condition (0 without one).
        mapping_layers: fully connected layers that map the condition (0 without one).
        mbstd_group, mbstd_channels: images per group and channels of the minibatch standard deviation.
        conv_clamp: limit on the activations, None for none.
    """

    c_dim: int
    img_resolution: int
    img_channels: int
    channels: tuple[int, ...]
    cmap_dim: int = 0
    mapping_layers: int = 0
    mbstd_group: int = 4
    mbstd_channels: int = 1
    conv_clamp: float | None = None

    @classmethod
    def infer(cls, shapes: Shapes, file: str) -> Self:
        """Read the architecture off the tensors' shapes (the group size leaves no trace in them: 4).

        Raises:
            InputError: the names are not those of a discriminator.
        """
        above = _resolutions_found(shapes, r"b(\d+)\.skip\.weight", "bR.skip.weight", file, first=8)
        narrow = _shape(shapes, "b4.fc.weight", 2, file)[0]
        top = above[-1]
        channels = (narrow, *(_shape(shapes, f"b{r}.skip.weight", 4, file)[1] for r in above))
        embed = tuple(shapes["mapping.embed.weight"]) if "mapping.embed.weight" in shapes else (0, 0)
        return cls(
            c_dim=embed[1],
            img_resolution=top,
            img_channels=_shape(shapes, f"b{top}.fromrgb.weight", 4, file)[1],
            channels=channels,
            cmap_dim=_shape(shapes, "b4.out.weight", 2, file)[0] if embed[1] else 0,
            mapping_layers=sum(1 for name in shapes if re.fullmatch(r"mapping\.fc\d+\.weight", name)),
            mbstd_channels=_shape(shapes, "b4.conv.weight", 4, file)[1] - narrow,
        )


def _resolutions_found(shapes: Shapes, pattern: str, wanted: str, file: str, first: int = 4) -> list[int]:
    found = sorted(int(m.group(1)) for m in (re.fullmatch(pattern, name) for name in shapes) if m)
    expected = [r for r in resolutions(found[-1]) if r >= first] if found else []
    if not found or found != expected:
        raise InputError(
            f"{file} does not hold the network that was asked for: tensors {wanted} must be there for every "
            f"resolution from {first} up, found {found or 'none'}"
        )
    return found


def _shape(shapes: Shapes, name: str, rank: int, file: str) -> tuple[int, ...]:
    shape = tuple(shapes.get(name, ()))
    if len(shape) != rank or 0 in shape:
        raise InputError(
            f"{file}: tensor {name} must have {rank} axes, none empty, got {list(shape) if shape else 'no such tensor'}"
        )
    return shape
