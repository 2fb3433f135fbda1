"""The augmentation that shields a discriminator from few photographs (Karras et al. 2020b, appendix B): "bgc".

Three groups: blit (pixel-exact flips, turns, shifts), geometry (scale, rotation, stretch, fractional shift) and colour.
Every operation has a multiplier; it is applied to a sample with probability multiplier · p. All geometric operations
of a sample are multiplied into one matrix and applied by one resampling between a sym6 wavelet's up- and downsampling;
all colour operations into one 4×4 matrix. Both steps are differentiable twice.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from pipeline.gan.ops import downsample2d, setup_filter, upsample2d
from pipeline.processes import WHOLE, Share

# Low-pass decomposition filter of the sym6 wavelet (least asymmetric Daubechies, 6 vanishing moments).
SYM6 = (
    0.015404109327027373,
    0.0034907120842174702,
    -0.11799011114819057,
    -0.048311742585633,
    0.4910559419267466,
    0.787641141030194,
    0.3379294217276218,
    -0.07263752278646252,
    -0.021060292512300564,
    0.04472490177066578,
    0.0017677118642428036,
    -0.007800708325034148,
)
REACH = len(SYM6) // 4  # pixels by which half a filter reaches beyond an image's edge, at the image's own scale


@dataclass(frozen=True)
class AugmentSettings:
    """Multipliers of the operations (0: never) and their strengths, by default the official "bgc"."""

    xflip: float = 1.0
    rotate90: float = 1.0
    xint: float = 1.0
    scale: float = 1.0
    rotate: float = 1.0
    aniso: float = 1.0
    xfrac: float = 1.0
    brightness: float = 1.0
    contrast: float = 1.0
    lumaflip: float = 1.0
    hue: float = 1.0
    saturation: float = 1.0
    xint_max: float = 0.125
    scale_std: float = 0.2
    rotate_max: float = 1.0
    aniso_std: float = 0.2
    xfrac_std: float = 0.125
    brightness_std: float = 0.2
    contrast_std: float = 0.5
    hue_max: float = 1.0
    saturation_std: float = 1.0

    @classmethod
    def groups(cls, blit: bool = True, geometry: bool = True, colour: bool = True) -> AugmentSettings:
        """Switch whole groups on and off."""
        return cls(
            **dict.fromkeys(("xflip", "rotate90", "xint"), float(blit)),
            **dict.fromkeys(("scale", "rotate", "aniso", "xfrac"), float(geometry)),
            **dict.fromkeys(("brightness", "contrast", "lumaflip", "hue", "saturation"), float(colour)),
        )


class Draws(Protocol):
    """Where random values come from; ``op`` names the operation. For each, the value is drawn first, then the gate."""

    def uniform(self, op: str, n: int, columns: int) -> Tensor:
        """Return values in [0, 1), [n, columns]."""

    def normal(self, op: str, n: int, columns: int) -> Tensor:
        """Return unit normal values, [n, columns]."""

    def gate(self, op: str, n: int, probability: float) -> Tensor:
        """Return whether the operation is applied to each sample, [n, 1] bool."""


class RandomDraws:
    """`Draws` from a random generator."""

    def __init__(self, rng: torch.Generator) -> None:
        self.rng = rng

    def uniform(self, op: str, n: int, columns: int) -> Tensor:
        """Return values in [0, 1), [n, columns]."""
        return torch.rand([n, columns], generator=self.rng, device=self.rng.device)

    def normal(self, op: str, n: int, columns: int) -> Tensor:
        """Return unit normal values, [n, columns]."""
        return torch.randn([n, columns], generator=self.rng, device=self.rng.device)

    def gate(self, op: str, n: int, probability: float) -> Tensor:
        """Return whether the operation is applied to each sample, [n, 1] bool."""
        return self.uniform(op, n, 1) < probability


def augment(images: Tensor, p: float, settings: AugmentSettings, draws: Draws, share: Share = WHOLE) -> Tensor:
    """Augment each sample by chance of its own.

    Args:
        images: [N, 3, H, W], black −1, white 1 (values beyond are fine).
        p: probability of each operation, [0, 1]; 0 gives the images back.
        settings: multipliers and strengths.
        draws: where chance comes from, that of the whole batch.
        share: which rows of a whole batch the images are.

    Returns:
        [N, 3, H, W].
    """
    if p == 0:
        return images
    n, _, height, width = images.shape
    moved = geometry_matrices(n * share.count, width, height, p, settings, draws)
    coloured = colour_matrices(n * share.count, p, settings, draws)
    return apply_colour(apply_geometry(images, share.of(moved), moved), share.of(coloured))


def geometry_matrices(n: int, width: int, height: int, p: float, s: AugmentSettings, draws: Draws) -> Tensor:
    """Draw the matrices [N, 3, 3] that take a pixel of the result to where it comes from; origin in the centre.

    Every operation's parameter is 0 where its gate is shut: no flip, no turn, no shift, scale 2⁰.
    """
    turn = 1 - math.sqrt(1 - min(max(s.rotate * p, 0.0), 1.0))  # before and after the stretch: either happens with p
    size = torch.tensor([width, height])
    steps = []
    if s.xflip:
        flips = (2 * draws.uniform("xflip", n, 1)).floor() * draws.gate("xflip", n, s.xflip * p)
        steps.append(_scale2d(1 - 2 * flips, torch.ones_like(flips)))
    if s.rotate90:
        turns = (4 * draws.uniform("rotate90", n, 1)).floor() * draws.gate("rotate90", n, s.rotate90 * p)
        steps.append(_rotate2d(math.pi / 2 * turns))
    if s.xint:
        shift = (2 * draws.uniform("xint", n, 2) - 1) * s.xint_max * draws.gate("xint", n, s.xint * p)
        steps.append(_shift2d(-(shift * size.to(shift)).round()))
    if s.scale:
        octaves = s.scale_std * draws.normal("scale", n, 1) * draws.gate("scale", n, s.scale * p)
        steps.append(_scale2d(torch.exp2(-octaves), torch.exp2(-octaves)))
    if s.rotate:
        angle = (2 * draws.uniform("rotate_pre", n, 1) - 1) * math.pi * s.rotate_max
        steps.append(_rotate2d(angle * draws.gate("rotate_pre", n, turn)))
    if s.aniso:
        octaves = s.aniso_std * draws.normal("aniso", n, 1) * draws.gate("aniso", n, s.aniso * p)
        steps.append(_scale2d(torch.exp2(-octaves), torch.exp2(octaves)))
    if s.rotate:
        angle = (2 * draws.uniform("rotate_post", n, 1) - 1) * math.pi * s.rotate_max
        steps.append(_rotate2d(angle * draws.gate("rotate_post", n, turn)))
    if s.xfrac:
        shift = s.xfrac_std * draws.normal("xfrac", n, 2) * draws.gate("xfrac", n, s.xfrac * p)
        steps.append(_shift2d(-shift * size.to(shift)))
    return _product(steps, n, 3)


def colour_matrices(n: int, p: float, s: AugmentSettings, draws: Draws) -> Tensor:
    """Draw the matrices [N, 4, 4] that take (R, G, B, 1) to what it becomes."""
    steps = []
    if s.brightness:
        offset = s.brightness_std * draws.normal("brightness", n, 1) * draws.gate("brightness", n, s.brightness * p)
        matrix = _identity(offset, 4)
        matrix[:, :3, 3] = offset
        steps.append(matrix)
    if s.contrast:
        octaves = s.contrast_std * draws.normal("contrast", n, 1) * draws.gate("contrast", n, s.contrast * p)
        steps.append(_affine3d(_identity(octaves, 3) * torch.exp2(octaves)[:, :, None]))
    if s.lumaflip:
        flips = (2 * draws.uniform("lumaflip", n, 1)).floor() * draws.gate("lumaflip", n, s.lumaflip * p)
        steps.append(_affine3d(_identity(flips, 3) - 2 * _grey(flips) * flips[:, :, None]))
    if s.hue:
        angle = (2 * draws.uniform("hue", n, 1) - 1) * math.pi * s.hue_max
        steps.append(_affine3d(_hue_rotation(angle * draws.gate("hue", n, s.hue * p))))
    if s.saturation:
        octaves = s.saturation_std * draws.normal("saturation", n, 1) * draws.gate("saturation", n, s.saturation * p)
        grey = _grey(octaves)
        steps.append(_affine3d(grey + (_identity(octaves, 3) - grey) * torch.exp2(octaves)[:, :, None]))
    return _product(steps[::-1], n, 4)  # the first operation is applied first: it stands on the right


def apply_geometry(images: Tensor, matrices: Tensor, batch: Tensor | None = None) -> Tensor:
    """Resample [N, C, H, W] by one matrix [N, 3, 3] each; samples whose matrix is the identity are left alone.

    ``batch`` are the matrices of the whole batch that the images are a share of: the farthest of its samples decides
    how far all are padded, and that shows, a little, where a filter reaches beyond the padding.
    """
    batch = matrices if batch is None else batch
    moved = _moved(matrices).nonzero().flatten().to(images.device)
    if len(moved) == 0:
        return images
    margins = _margins(batch[_moved(batch)].to(images.device), images.shape[3], images.shape[2])
    if len(moved) == len(images):
        return _resample(images, matrices.to(images.device), margins)
    return images.index_copy(0, moved, _resample(images[moved], matrices.to(images.device)[moved], margins))


def _moved(matrices: Tensor) -> Tensor:
    """Return which matrices are not the identity, [N] bool."""
    return (matrices != torch.eye(3, device=matrices.device)).flatten(1).any(dim=1)


def apply_colour(images: Tensor, matrices: Tensor) -> Tensor:
    """Apply one colour matrix [N, 4, 4] to each image, [N, 3, H, W]."""
    matrices = matrices.to(images.device, images.dtype)
    pixels = images.flatten(2)  # [N, 3, H · W]
    return torch.baddbmm(matrices[:, :3, 3:], matrices[:, :3, :3], pixels).view_as(images)


def _resample(images: Tensor, matrix: Tensor, margins: tuple[int, int, int, int]) -> Tensor:
    n, channels, height, width = images.shape
    left, right, top, bottom = margins
    matrix = matrix.to(torch.promote_types(matrix.dtype, images.dtype))
    images = _along_axes(images, _enlarging(height, top, bottom), _enlarging(width, left, right))
    matrix = _shift2d(_row(matrix, (left - right) / 2, (top - bottom) / 2)) @ matrix
    # At twice the resolution: coordinates double, and the upsampling filter delays by half a pixel.
    double, half = _scale_by(matrix, 2.0, 2.0), _scale_by(matrix, 0.5, 0.5)
    delay = _row(matrix, -0.5, -0.5)
    matrix = _shift2d(delay) @ double @ matrix @ half @ _shift2d(-delay)
    # From pixels to the [−1, 1] of `affine_grid`.
    shape = [n, channels, (height + REACH * 2) * 2, (width + REACH * 2) * 2]
    to_unit = _scale_by(matrix, 2 / images.shape[3], 2 / images.shape[2])
    matrix = to_unit @ matrix @ _scale_by(matrix, shape[3] / 2, shape[2] / 2)
    grid = F.affine_grid(matrix[:, :2, :].to(images.dtype), shape, align_corners=False)
    images = F.grid_sample(images, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    return _along_axes(images, _reducing(height), _reducing(width))


def _along_axes(images: Tensor, vertical: Tensor, horizontal: Tensor) -> Tensor:
    """Apply [H', H] to the columns and [W', W] to the rows of [N, C, H, W].

    Filters as dense matrices waste multiplications and win all the same: a matrix product runs at full speed, a
    convolution of three channels with long filters at a small fraction of it.
    """
    return vertical.to(images) @ images @ horizontal.to(images).T


def _enlarging(size: int, before: int, after: int) -> Tensor:
    """Return the matrix that pads ``size`` samples by reflection and then doubles them by the wavelet."""
    identity = F.pad(torch.eye(size)[None, None], [0, 0, before, after], mode="reflect")
    return upsample2d(identity, setup_filter(SYM6)[:, None], up=(1, 2))[0, 0]


def _reducing(size: int) -> Tensor:
    """Return the matrix that takes (size + 2 · REACH) · 2 samples to ``size`` by the wavelet, borders cropped."""
    identity = torch.eye((size + REACH * 2) * 2)[None, None]
    wavelet = setup_filter(SYM6)[:, None]
    return downsample2d(identity, wavelet, down=(1, 2), padding=(0, -REACH * 2), flip_filter=True)[0, 0]


def _margins(matrix: Tensor, width: int, height: int) -> tuple[int, int, int, int]:
    """Return how far the batch's samples reach beyond the image: left, right, top, bottom; less than its size."""
    cx, cy = (width - 1) / 2, (height - 1) / 2
    corners = torch.tensor([[-cx, -cy, 1], [cx, -cy, 1], [cx, cy, 1], [-cx, cy, 1]]).to(matrix).T
    reached = (matrix @ corners)[:, :2].transpose(0, 1).flatten(1)  # [2, N · 4]
    farthest = torch.cat([-reached, reached]).amax(dim=1)  # left, top, right, bottom
    limits = torch.tensor([width - 1, height - 1] * 2).to(matrix)
    own = torch.tensor([REACH * 2 - cx, REACH * 2 - cy] * 2).to(matrix)
    left, top, right, bottom = (farthest + own).clamp(min=0).minimum(limits).ceil().int().tolist()
    return left, right, top, bottom


def _product(steps: list[Tensor], n: int, size: int) -> Tensor:
    result = torch.eye(size).expand(n, size, size).clone()
    for step in steps:
        result = result.to(step) @ step
    return result


def _identity(like: Tensor, size: int) -> Tensor:
    return torch.eye(size, device=like.device, dtype=like.dtype).repeat(len(like), 1, 1)


def _row(like: Tensor, x: float, y: float) -> Tensor:
    return torch.tensor([[x, y]], device=like.device, dtype=like.dtype)


def _scale_by(like: Tensor, x: float, y: float) -> Tensor:
    return torch.diag(torch.tensor([x, y, 1.0], device=like.device, dtype=like.dtype))


def _scale2d(x: Tensor, y: Tensor) -> Tensor:
    return torch.diag_embed(torch.cat([x, y, torch.ones_like(x)], dim=1))


def _shift2d(shift: Tensor) -> Tensor:
    matrix = _identity(shift, 3)
    matrix[:, :2, 2] = shift
    return matrix


def _rotate2d(angle: Tensor) -> Tensor:
    cos, sin, zero, one = angle.cos(), angle.sin(), torch.zeros_like(angle), torch.ones_like(angle)
    return torch.cat([cos, -sin, zero, sin, cos, zero, zero, zero, one], dim=1).reshape(-1, 3, 3)


def _affine3d(linear: Tensor) -> Tensor:
    return F.pad(linear, [0, 1, 0, 1]) + torch.diag(torch.tensor([0.0, 0, 0, 1])).to(linear)


def _grey(like: Tensor) -> Tensor:
    """Return the projection onto the grey axis, [3, 3]."""
    return torch.full([3, 3], 1 / 3, device=like.device, dtype=like.dtype)


def _hue_rotation(angle: Tensor) -> Tensor:
    """Return the rotations about the grey axis by [N, 1] angles (Rodrigues), [N, 3, 3]."""
    cos, sin = angle.cos()[:, :, None], angle.sin()[:, :, None]
    cross = torch.tensor([[0.0, -1, 1], [1, 0, -1], [-1, 1, 0]]).to(angle) / math.sqrt(3)
    return _identity(angle, 3) * cos + cross * sin + _grey(angle) * (1 - cos)
