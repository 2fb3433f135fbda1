"""Where a node's picture is: in which pack, in which cell of it, at which pixel. Pure arithmetic.

SPEC.md states the same as formulas with worked rows; `templates/grid.js` does it again in the browser, and both are
tested against those rows.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable
from dataclasses import dataclass

from atlas.errors import InputError
from atlas.grid import AXES, Grid

Node = tuple[int, int, int]  # three steps, or three indices: health, income, education
Span = tuple[int, int]  # from, to (not included)

MAX_SIDE = 4096
"""No sheet is wider or higher, in pixels: what every phone decodes and draws."""
PACK_BYTES = (120_000, 250_000)
"""What a sheet may weigh: a second and a half on a slow 3G line; more where there would be too many files."""
MAX_PACKS = 12_000
"""Beyond so many sheets the heavier limit holds: free hosts take 20,000 files."""
MAX_THUMBS = 400
"""A thumbnail sheet holds at most so many nodes, about 20 KB; where the grid has more, a coarser sub-grid."""
MANY_THUMBS = 150
"""Beyond so many nodes a thumbnail has 16 pixels instead of 32."""
THUMB_QUALITY = 50
"""JPEG quality of thumbnails."""
KEYS = ("original", *(f"{axis} {end}" for axis in AXES for end in ("low", "high")))
"""The cells of a key sheet: what the table of one image under three dimensions shows."""

# Measured bytes per pixel at quality 80, 4:2:0, progressive, in sheets: 7 photographs of London streets × 49 warps
# each (16 … 128 px); for larger ones see SPEC.md, 3.1. Between sizes: linear in the logarithm of the size.
_BYTES_PER_PIXEL = ((16, 0.348), (32, 0.296), (64, 0.263), (128, 0.233), (256, 0.181), (512, 0.165), (1024, 0.15))
_BY_QUALITY = ((1, 0.1), (30, 0.446), (50, 0.607), (70, 0.81), (80, 1.0), (90, 1.41), (95, 1.93), (100, 4.0))


def image_bytes(size: int, quality: int) -> float:
    """Estimate what one image of ``size`` pixels weighs in a sheet at a JPEG quality, in bytes."""
    per_pixel = _interpolate([(math.log2(s), b) for s, b in _BYTES_PER_PIXEL], math.log2(size))
    return size * size * per_pixel * _interpolate(_BY_QUALITY, quality)


@dataclass(frozen=True)
class SheetLayout:
    """How the nodes of a base are cut into blocks, each one sheet of cells.

    Attributes:
        side: steps of an axis, 2n + 1.
        size: pixels of an image.
        block: health, income and education indices that a block spans; the last block of an axis may be shorter.
        columns: cells in a row of the sheet.
    """

    side: int
    size: int
    block: Node
    columns: int

    @property
    def pitch(self) -> int:
        """Return the side of a cell's square: the size rounded up to a multiple of 16, JPEG's unit at 4:2:0."""
        return _round_up(self.size)

    @property
    def counts(self) -> Node:
        """Return how many blocks there are along each axis."""
        return _node(-(-self.side // length) for length in self.block)

    @property
    def packs(self) -> int:
        """Return how many packs a base has."""
        return math.prod(self.counts)

    def spans(self, pack: int) -> tuple[Span, Span, Span]:
        """Return the ranges of indices that a pack holds, per axis.

        Raises:
            IndexError: there is no such pack.
        """
        if not 0 <= pack < self.packs:
            raise IndexError(f"pack must be 0 … {self.packs - 1}, got {pack}")
        rest, education = divmod(pack, self.counts[2])
        health, income = divmod(rest, self.counts[1])
        spans = [
            (number * length, min((number + 1) * length, self.side))
            for number, length in zip((health, income, education), self.block, strict=True)
        ]
        return spans[0], spans[1], spans[2]

    def locate(self, index: Node) -> tuple[int, int]:
        """Return (pack, cell) of the node at three indices."""
        health, income, education = (i // length for i, length in zip(index, self.block, strict=True))
        pack = (health * self.counts[1] + income) * self.counts[2] + education
        spans = self.spans(pack)
        local = [i - span[0] for i, span in zip(index, spans, strict=True)]
        lengths = [span[1] - span[0] for span in spans]
        return pack, (local[0] * lengths[1] + local[1]) * lengths[2] + local[2]

    def corner(self, cell: int) -> tuple[int, int]:
        """Return (x, y), the top left pixel of a cell."""
        return cell % self.columns * self.pitch, cell // self.columns * self.pitch

    def pixels(self, pack: int) -> tuple[int, int]:
        """Return (width, height) of a pack's sheet."""
        cells = math.prod(span[1] - span[0] for span in self.spans(pack))
        return self.columns * self.pitch, -(-cells // self.columns) * self.pitch


@dataclass(frozen=True)
class ThumbLayout:
    """The thumbnails of a base: the nodes whose three steps are multiples of ``stride``, in grid order, on one sheet.

    Attributes:
        steps: n of the grid.
        stride: steps between neighbours.
        size: pixels of a thumbnail.
    """

    steps: int
    stride: int
    size: int

    @property
    def side(self) -> int:
        """Return thumbnails along an axis."""
        return 2 * (self.steps // self.stride) + 1

    @property
    def pitch(self) -> int:
        """Return the side of a thumbnail's square."""
        return _round_up(self.size)

    @property
    def columns(self) -> int:
        """Return thumbnails in a row of the sheet."""
        return math.isqrt(self.side**3 - 1) + 1

    def indices(self) -> list[int]:
        """Return the grid indices that have a thumbnail, the same along each axis."""
        reach = self.steps // self.stride
        return [self.steps + k * self.stride for k in range(-reach, reach + 1)]

    def nearest(self, steps: Node) -> int:
        """Return the cell whose node is nearest to three steps; of two as near, the less deprived."""
        reach = self.steps // self.stride
        cell = 0
        for step in steps:
            k = math.floor(step / self.stride + 0.5)
            cell = cell * self.side + max(-reach, min(reach, k)) + reach
        return cell

    def pixels(self) -> tuple[int, int]:
        """Return (width, height) of the sheet."""
        return self.columns * self.pitch, -(-(self.side**3) // self.columns) * self.pitch


@dataclass(frozen=True)
class KeyLayout:
    """The seven images of the table of one image under three dimensions, `KEYS`, on one sheet.

    Their squares have 8 pixels of margin on each side, so that they can be shown scaled straight from the sheet.
    """

    size: int
    inset: int = 8

    @property
    def pitch(self) -> int:
        """Return the side of a cell's square."""
        return _round_up(self.size + 2 * self.inset)

    @property
    def columns(self) -> int:
        """Return cells in a row of the sheet: all seven, unless the images are very large."""
        return max(1, min(len(KEYS), MAX_SIDE // self.pitch))

    def corner(self, cell: int) -> tuple[int, int]:
        """Return (x, y), the top left pixel of a cell's image."""
        return cell % self.columns * self.pitch + self.inset, cell // self.columns * self.pitch + self.inset

    def pixels(self) -> tuple[int, int]:
        """Return (width, height) of the sheet."""
        return self.columns * self.pitch, -(-len(KEYS) // self.columns) * self.pitch


def key_steps(steps: int) -> list[Node]:
    """Return the steps of the seven images of a key sheet."""
    nodes = [(0, 0, 0)]
    for axis in range(3):
        nodes += [_node(end if a == axis else 0 for a in range(3)) for end in (-steps, steps)]
    return nodes


def choose_sheets(grid: Grid, size: int, quality: int) -> SheetLayout:
    """Choose the blocks: the fewest packs on the longest walk, then the fewest packs.

    A walk along one axis crosses side / block packs. Of the blocks whose sheet weighs at most 120 KB (as estimated)
    and is at most 4096 pixels wide and high, the one wins whose worst axis crosses the fewest packs; then the one with
    the fewest packs; then the one longest along education, then income. If the atlas would have more than 12,000
    packs, sheets may weigh 250 KB.

    Raises:
        InputError: the images are larger than a sheet may be.
    """
    if _round_up(size) > MAX_SIDE:
        raise InputError(f"images must be at most {MAX_SIDE} px to be packed, got {size}")
    chosen = _choose(grid.side, size, quality, PACK_BYTES[0])
    if chosen.packs * grid.bases > MAX_PACKS:
        chosen = _choose(grid.side, size, quality, PACK_BYTES[1])
    return chosen


def choose_thumbs(grid: Grid, size: int) -> ThumbLayout:
    """Choose the thumbnails: the finest sub-grid of at most 400 nodes, of 32 px, or 16 px beyond 150 nodes."""
    stride = next(s for s in range(1, grid.steps + 2) if (2 * (grid.steps // s) + 1) ** 3 <= MAX_THUMBS)
    nodes = (2 * (grid.steps // stride) + 1) ** 3
    return ThumbLayout(grid.steps, stride, min(size, 32 if nodes <= MANY_THUMBS else 16))


def _choose(side: int, size: int, quality: int, limit: int) -> SheetLayout:
    across = MAX_SIDE // _round_up(size)
    cells = max(1, min(int(limit / image_bytes(size, quality)), across * across))
    lengths = sorted({-(-side // count) for count in range(1, side + 1)})
    blocks = (_node(b) for b in itertools.product(lengths, repeat=3) if math.prod(b) <= cells)

    def cost(block: Node) -> tuple[int, ...]:
        crossed = [-(-side // length) for length in block]
        return max(crossed), math.prod(crossed), -block[2], -block[1]

    block = min(blocks, key=cost)
    columns = min(across, math.isqrt(math.prod(block) - 1) + 1)
    return SheetLayout(side, size, block, columns)


def _interpolate(points: tuple[tuple[float, float], ...] | list[tuple[float, float]], x: float) -> float:
    if x <= points[0][0]:
        return points[0][1]
    for (x0, y0), (x1, y1) in itertools.pairwise(points):
        if x <= x1:
            return y0 + (y1 - y0) * (x - x0) / (x1 - x0)
    return points[-1][1]


def _node(values: Iterable[int]) -> Node:
    health, income, education = values
    return (health, income, education)


def _round_up(size: int, unit: int = 16) -> int:
    return -(-size // unit) * unit
