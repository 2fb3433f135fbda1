"""The quantised health × income × education grid: steps, nodes and their order. Pure arithmetic.

An axis is walked in integer steps −n … +n; 0 is the base image itself, minus is more deprived, plus is less deprived.
Arrays hold the axes in the order of `AXES` and a step ``s`` at index ``s + n``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

AXES = ("health", "income", "education")


@dataclass(frozen=True)
class Grid:
    """The grid of an atlas.

    Attributes:
        bases: how many images walks start from, at least 1.
        steps: n, the largest step on each axis, at least 1.

    Example:
        >>> Grid(bases=60, steps=12).images
        937500
    """

    bases: int
    steps: int

    def __post_init__(self) -> None:
        if self.bases < 1 or self.steps < 1:
            raise ValueError(f"a grid needs at least 1 base and 1 step, got {self.bases} and {self.steps}")

    @property
    def side(self) -> int:
        """Return how many steps an axis has: 2n + 1."""
        return 2 * self.steps + 1

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Return (base, health, income, education)."""
        return (self.bases, self.side, self.side, self.side)

    @property
    def images(self) -> int:
        """Return the number of nodes, each one image."""
        return self.bases * self.side**3

    def index(self, base: int, health: int, income: int, education: int) -> tuple[int, int, int, int]:
        """Return the array index of a node given by its steps.

        Raises:
            IndexError: the base is not in [0, bases) or a step is not in [−n, +n].
        """
        if not 0 <= base < self.bases:
            raise IndexError(f"base must be 0 … {self.bases - 1}, got {base}")
        for axis, step in zip(AXES, (health, income, education), strict=True):
            if not -self.steps <= step <= self.steps:
                raise IndexError(f"{axis} must be −{self.steps} … +{self.steps}, got {step}")
        return (base, health + self.steps, income + self.steps, education + self.steps)

    def planes(self) -> Iterator[tuple[int, int]]:
        """Yield every (base, health index): a plane of income × education nodes, written as one shard."""
        for base in range(self.bases):
            for health in range(self.side):
                yield base, health
