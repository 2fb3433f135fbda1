"""What all methods of inversion are given, photographs and a generator: brought to one form, or refused."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from atlas.errors import InputError
from pipeline.gan import Generator


def prepared(images: Tensor, size: int, like: Tensor) -> Tensor:
    """Return photographs as a method looks at them: RGB, of its size, where ``like`` is and of its type.

    Args:
        images: [N, 3, H, H] in [-1, 1], or greyscale [N, 1, H, H], of any size.
        size: side of the result.
        like: of the method's own network.

    Returns:
        [N, 3, size, size].

    Raises:
        InputError: as `as_photographs`.
    """
    return to_size(as_photographs(images).to(like), size)


def to_size(images: Tensor, size: int) -> Tensor:
    """Bring images [N, C, H, W] to ``size``: shrunk by the mean over areas, enlarged by repeating pixels, as published.

    Photographs and reconstructions pass through the same rule, so that they can be compared.
    """
    return images if images.shape[-1] == size else F.interpolate(images, size=(size, size), mode="area")


def as_photographs(images: Tensor) -> Tensor:
    """Return images as RGB: greyscale [N, 1, H, W] is repeated.

    Raises:
        InputError: not [N, 3 or 1, H, H] floating-point numbers.
    """
    if images.ndim != 4 or images.shape[1] not in (1, 3) or images.shape[2] != images.shape[3]:
        raise InputError(
            f"photographs must be square, [N, 3, H, H] or greyscale [N, 1, H, H], got {list(images.shape)}: "
            "crop them first, as `atlas dataset import` does"
        )
    if not images.is_floating_point():
        raise InputError(f"photographs must be floating-point numbers in [-1, 1], got {images.dtype}")
    return images.expand(-1, 3, -1, -1)


def check_unconditional(generator: Generator, name: str) -> None:
    """Refuse a conditional generator, and one of other images than RGB.

    Raises:
        InputError: see above.
    """
    if generator.c_dim or generator.img_channels != 3:
        raise InputError(
            f"{name} must be an unconditional generator of RGB images, got {generator.img_channels} channels and a "
            f"condition of {generator.c_dim} numbers: use another"
        )
