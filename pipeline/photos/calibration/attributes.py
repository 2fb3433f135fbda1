"""What decides a facade: the three planted attributes, and tens of others that know nothing of deprivation."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy.special import ndtr, ndtri

from atlas.grid import AXES

PLANTED = {"hedge": "health", "door_hue": "income", "brick_tone": "education"}
"""Planted attribute → the axis that moves it."""

EXPLAINED = 0.35
"""Share of each planted attribute's variance that its axis' percentile explains. Fixed before anything was trained."""

DOOR_HUES = (205.0, 400.0)
"""Degrees, from blue through crimson to amber (400 is 40): no green, which is the hedge's."""

_ATTRIBUTES, _TEXTURE = 0, 1


def _between(low: float, high: float) -> Any:
    return field(metadata={"draw": lambda rng: float(rng.uniform(low, high))})


def _one_of(*options: str | int, weights: Sequence[float] | None = None) -> Any:
    return field(metadata={"draw": lambda rng: options[int(rng.choice(len(options), p=weights))]})


def _chance(share: float) -> Any:
    return field(metadata={"draw": lambda rng: int(rng.uniform() < share)})


@dataclass(frozen=True)
class Facade:
    """One photograph's attributes. Lengths are shares of the picture's side.

    Attributes:
        hedge: 0 … 1, amount of hedge: its height as a share of the highest.
        door_hue: degrees in `DOOR_HUES`.
        brick_tone: 0 … 1, dark to light.

    Everything below these three is drawn independently of deprivation and of each other.
    """

    hedge: float
    door_hue: float
    brick_tone: float

    kind: str = _one_of("terrace", "semi-left", "semi-right", weights=(0.5, 0.25, 0.25))
    storeys: int = _one_of(2, 3, weights=(0.7, 0.3))
    layout: str = _one_of("left", "right", "centre", weights=(0.4, 0.4, 0.2))
    width: float = _between(0.66, 0.80)
    roof: str = _one_of("pitched", "gable", "parapet", weights=(0.5, 0.25, 0.25))
    roof_height: float = _between(0.09, 0.15)
    roof_hue: float = _between(0.0, 1.0)
    roof_tone: float = _between(0.28, 0.46)
    chimneys: int = _one_of(0, 1, 2, weights=(0.15, 0.5, 0.35))
    chimney_height: float = _between(0.05, 0.09)
    pots: int = _one_of(1, 2, 3, 4)
    dormer: int = _chance(0.2)
    brick_hue: float = _between(12.0, 30.0)
    brick_saturation: float = _between(0.34, 0.46)
    mortar: float = _between(0.04, 0.16)
    brick_spread: float = _between(0.02, 0.07)
    render: str = _one_of("none", "ground", weights=(0.7, 0.3))
    render_tone: float = _between(0.78, 0.93)
    render_warmth: float = _between(0.0, 1.0)
    string_course: int = _chance(0.4)
    bay: str = _one_of("none", "ground", "full", weights=(0.4, 0.35, 0.25))
    window_width: float = _between(0.115, 0.15)
    window_height: float = _between(0.115, 0.14)
    window_style: str = _one_of("sash", "casement", "georgian")
    frame_tone: float = _between(0.82, 0.98)
    lintel: str = _one_of("flat", "arched", "keystone", "none")
    glass_tone: float = _between(0.0, 0.34)
    curtains: float = _between(0.0, 1.0)
    curtain_hue: float = _between(30.0, 60.0)
    blinds: int = _chance(0.25)
    door_width: float = _between(0.118, 0.14)
    door_value: float = _between(0.50, 0.68)
    door_saturation: float = _between(0.66, 0.80)
    door_style: str = _one_of("four panels", "six panels", "glazed", "plain")
    fanlight: int = _chance(0.6)
    porch: str = _one_of("none", "canopy", "columns", "pediment", weights=(0.4, 0.25, 0.2, 0.15))
    steps: int = _one_of(1, 2, 3)
    downpipe: str = _one_of("none", "left", "right")
    wall_height: float = _between(0.032, 0.055)
    wall_material: str = _one_of("brick", "render", "stone")
    piers: int = _chance(0.6)
    gate: str = _one_of("none", "iron", "wood")
    hedge_ripple: float = _between(0.0, 1.0)
    tree: str = _one_of("none", "left", "right", weights=(0.45, 0.275, 0.275))
    tree_size: float = _between(0.13, 0.20)
    season: str = _one_of("spring", "summer", "autumn", "winter")
    lamp: str = _one_of("none", "left", "right", weights=(0.7, 0.15, 0.15))
    car: str = _one_of("none", "left", "right", weights=(0.6, 0.2, 0.2))
    car_tone: float = _between(0.12, 0.88)
    car_tint: float = _between(195.0, 235.0)
    car_shape: str = _one_of("hatchback", "saloon", "van")
    pavement_tone: float = _between(0.60, 0.64)
    slab: float = _between(0.07, 0.13)
    road_tone: float = _between(0.30, 0.42)
    cloud: float = _between(0.0, 1.0)
    sky_hue: float = _between(202.0, 218.0)
    sun: float = _between(-1.0, 1.0)
    shadow: float = _between(0.12, 0.42)
    gain: float = _between(0.88, 1.08)
    warmth: float = _between(-0.05, 0.05)
    shift_x: float = _between(-0.03, 0.03)
    shift_y: float = _between(-0.010, 0.010)
    zoom: float = _between(0.96, 1.04)

    def as_text(self) -> dict[str, str]:
        """Return every attribute as text, for the further columns of ``photos.csv``."""
        values = dataclasses.asdict(self)
        return {name: f"{v:.4f}" if isinstance(v, float) else str(v) for name, v in values.items()}


NUISANCES = tuple(f.name for f in dataclasses.fields(Facade) if f.name not in PLANTED)


def sample_facade(seed: int, index: int, scores: np.ndarray) -> Facade:
    """Draw the attributes of photograph ``index``; they do not depend on how many photographs there are.

    Args:
        seed: of the street.
        index: number of the photograph.
        scores: [3], the area's place on each axis (health, income, education) in (0, 1), 1 the least deprived.
    """
    rng = np.random.default_rng((seed, index, _ATTRIBUTES))
    shares = {name: _planted(float(scores[AXES.index(axis)]), rng) for name, axis in PLANTED.items()}
    low, high = DOOR_HUES
    nuisances = {name: _draw(name)(rng) for name in NUISANCES}
    return Facade(
        hedge=shares["hedge"],
        door_hue=low + (high - low) * shares["door_hue"],
        brick_tone=shares["brick_tone"],
        **nuisances,
    )


def texture_stream(seed: int, index: int) -> np.random.Generator:
    """Return the random stream for what is no attribute: single leaves, bricks, clouds."""
    return np.random.default_rng((seed, index, _TEXTURE))


def _draw(name: str) -> Callable[[np.random.Generator], Any]:
    draw: Callable[[np.random.Generator], Any] = Facade.__dataclass_fields__[name].metadata["draw"]
    return draw


def _planted(score: float, rng: np.random.Generator) -> float:
    """Return a value uniform over [0, 1] of which ``score``, uniform too, explains the share `EXPLAINED`.

    Both are seen as normal; two normals of correlation 2 sin(π r / 6) have ranks of correlation r (Pearson, 1907).
    """
    r = 2 * math.sin(math.pi / 6 * math.sqrt(EXPLAINED))
    return float(ndtr(r * ndtri(score) + math.sqrt(1 - r * r) * rng.standard_normal()))
