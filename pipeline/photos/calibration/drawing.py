"""One photograph of the calibration street, drawn from back to front."""

from __future__ import annotations

import numpy as np

from pipeline.photos.calibration.attributes import Facade
from pipeline.photos.calibration.canvas import Camera, Canvas
from pipeline.photos.calibration.house import House
from pipeline.photos.calibration.surroundings import (
    draw_car,
    draw_gap,
    draw_ground,
    draw_hedge,
    draw_lamp,
    draw_sky,
    draw_tree,
    draw_wall,
)


def draw(facade: Facade, size: int, rng: np.random.Generator) -> np.ndarray:
    """Draw a facade.

    Args:
        facade: every attribute of the photograph.
        size: side in pixels. The same scene at another size is the same scene.
        rng: for what is no attribute: bricks, leaves, clouds.

    Returns:
        [size, size, 3] uint8.
    """
    canvas = Canvas(size, Camera(facade.shift_x, facade.shift_y, facade.zoom))
    # A stream for each, so that a taller hedge leaves the tree as it is.
    for_bricks, for_sky, for_hedge, for_tree = rng.spawn(4)
    house = House(canvas, facade, for_bricks)
    draw_sky(canvas, facade, for_sky)
    draw_gap(canvas, facade, house.plan, house.bricks)
    house.draw()
    draw_ground(canvas, facade)
    draw_hedge(canvas, facade, house.plan, for_hedge)
    draw_wall(canvas, facade, house.plan, house.bricks)
    draw_lamp(canvas, facade)
    draw_tree(canvas, facade, for_tree)
    draw_car(canvas, facade)
    return _lit(canvas.reduced(), facade)


def _lit(image: np.ndarray, facade: Facade) -> np.ndarray:
    """Return the picture in the light of the day: brighter on the sun's side, warmer or cooler, as bytes."""
    across = np.linspace(-1, 1, image.shape[1], dtype=np.float32)[None, :, None]
    tint = np.array([1 + facade.warmth, 1, 1 - facade.warmth], np.float32)
    lit = image * (facade.gain * (1 + 0.05 * facade.sun * across)) * tint
    return np.round(255 * np.clip(lit, 0, 1)).astype(np.uint8)
