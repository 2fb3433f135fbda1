"""What stands around the house: sky, hedge, garden wall, pavement, road, tree, lamp, car."""

from __future__ import annotations

import numpy as np
from PIL import Image
from scipy.ndimage import zoom

from pipeline.photos.calibration.attributes import Facade
from pipeline.photos.calibration.brick import brick_colour
from pipeline.photos.calibration.canvas import Canvas, Colour, box, dim, grey, hsv, mix
from pipeline.photos.calibration.house import GROUND, Plan

FOOT = 0.84
"""Where the garden wall meets the pavement."""

HEDGE_HIGHEST = 0.20
"""Height of the hedge above the wall where its amount is 1."""

GATE = 0.088
"""Half of the gap in wall and hedge before the door."""

KERB, ROAD = 0.915, 0.932
_BLACK: Colour = (0.02, 0.02, 0.04)
_LEAVES = {
    "spring": hsv(82, 0.50, 0.62),
    "summer": hsv(94, 0.54, 0.44),
    "autumn": hsv(34, 0.66, 0.66),
    "winter": hsv(30, 0.2, 0.4),
}


def draw_sky(canvas: Canvas, facade: Facade, rng: np.random.Generator) -> None:
    """Draw the sky, from clear to overcast."""
    clear_top, clear_low = hsv(facade.sky_hue, 0.46, 0.88), hsv(facade.sky_hue, 0.14, 0.97)
    dull_top, dull_low = grey(0.74, -0.01), grey(0.90, -0.005)
    veil = facade.cloud**2
    canvas.gradient(-0.1, 0.62, mix(clear_top, dull_top, veil), mix(clear_low, dull_low, veil))
    noise = zoom(rng.standard_normal((10, 4)), (3, 6), order=3) + 0.4 * zoom(rng.standard_normal((30, 12)), (1, 2))
    canvas.blend((0.99, 0.985, 0.98), np.clip(noise * 0.4 + 0.9 * facade.cloud - 0.45, 0, 0.8))


def draw_gap(canvas: Canvas, facade: Facade, plan: Plan, bricks: Image.Image) -> None:
    """Draw what one sees beside a semi-detached house: a side wall with a gate, and a far roof behind it."""
    if facade.kind == "terrace":
        return
    left = facade.kind == "semi-left"
    x0, x1 = (-0.2, plan.left) if left else (plan.right, 1.2)
    roof = dim(hsv(220, 0.1, facade.roof_tone), 1.25)
    canvas.poly(
        [(x0, 0.62), (x0, 0.47), (0.5 * (x0 + x1), 0.42), (x1, 0.47), (x1, 0.62)], mix(roof, (0.8, 0.85, 0.9), 0.35)
    )
    canvas.texture(box(x0, 0.60, x1, GROUND), bricks)
    canvas.rect(x0, 0.592, x1, 0.606, grey(0.7, 0.01))
    canvas.rect(x0, 0.606, x1, GROUND, _BLACK, 0.22)


def draw_ground(canvas: Canvas, facade: Facade) -> None:
    """Draw front yard, pavement, kerb and road."""
    paving = grey(facade.pavement_tone, 0.012)
    canvas.rect(-0.2, GROUND, 1.2, FOOT, dim(paving, 0.9))
    canvas.rect(-0.2, FOOT, 1.2, KERB, paving)
    for x in np.arange(-0.2, 1.2, facade.slab):
        canvas.rect(x, FOOT, x + 0.004, KERB, dim(paving, 0.86))
    canvas.rect(-0.2, FOOT + 0.04, 1.2, FOOT + 0.043, dim(paving, 0.86))
    canvas.rect(-0.2, KERB, 1.2, KERB + 0.006, dim(paving, 1.14))
    canvas.rect(-0.2, KERB + 0.006, 1.2, ROAD, dim(paving, 0.78))
    canvas.rect(-0.2, ROAD, 1.2, 1.2, grey(facade.road_tone, -0.006))
    canvas.rect(-0.2, ROAD, 1.2, ROAD + 0.01, _BLACK, 0.25)


def draw_hedge(canvas: Canvas, facade: Facade, plan: Plan, rng: np.random.Generator) -> None:
    """Draw the hedge on both sides of the gate; its height is the planted amount."""
    top = FOOT - facade.wall_height - HEDGE_HIGHEST * facade.hedge
    bottom = FOOT - 0.5 * facade.wall_height
    base = hsv(112, 0.50, 0.40)
    for x0, x1 in ((-0.15, plan.door - GATE), (plan.door + GATE, 1.15)):
        xs = np.linspace(x0, x1, 40)
        wave = np.sin(xs * 40 + float(rng.uniform(0, 6))) + 0.7 * rng.standard_normal(40)
        ripple = 0.007 * facade.hedge_ripple * min(1.0, 6 * facade.hedge) * (wave - wave.mean())
        crown = [(float(x), top + float(r)) for x, r in zip(xs, ripple, strict=True)]
        canvas.poly([*crown, (x1, bottom), (x0, bottom)], base)
        _leaves(canvas, crown, bottom, base, facade, rng)
        canvas.line(crown, 0.008, dim(base, 1.35), 0.8)


def _leaves(
    canvas: Canvas,
    crown: list[tuple[float, float]],
    bottom: float,
    base: Colour,
    facade: Facade,
    rng: np.random.Generator,
) -> None:
    """Dot the hedge with tufts, lighter toward its top."""
    (x0, top), (x1, _) = crown[0], crown[-1]
    height = bottom - top
    count = int(900 * height * (x1 - x0) * 5)
    xs, shares = rng.uniform(x0 + 0.008, x1 - 0.008, count), rng.uniform(0, 1, count)
    sizes, tones = rng.uniform(0.004, 0.009, count), rng.uniform(0.78, 1.22, count)
    boxes = np.stack([xs, top + 0.006 + shares * height, sizes, 0.7 * sizes], -1)
    canvas.tufts(boxes, base, tones * (1.12 - 0.3 * shares))


def draw_wall(canvas: Canvas, facade: Facade, plan: Plan, bricks: Image.Image) -> None:
    """Draw the garden wall, its piers and the gate."""
    top = FOOT - facade.wall_height
    plain = {"render": grey(facade.render_tone * 0.96, 0.02), "stone": grey(0.62, 0.02)}.get(facade.wall_material)
    coping = dim(grey(0.78, 0.012), 0.95)
    for x0, x1 in ((-0.15, plan.door - GATE), (plan.door + GATE, 1.15)):
        if plain is None:
            canvas.texture(box(x0, top, x1, FOOT), bricks)
            canvas.rect(x0, top, x1, FOOT, _BLACK, 0.08)
        else:
            canvas.rect(x0, top, x1, FOOT, plain)
        canvas.rect(x0, top - 0.004, x1, top + 0.006, coping)
        canvas.rect(x0, top + 0.006, x1, top + 0.010, _BLACK, facade.shadow)
    if facade.piers:
        for x in (plan.door - GATE, plan.door + GATE):
            colour = plain or brick_colour(facade)
            canvas.rect(x - 0.016, top - 0.026, x + 0.016, FOOT, dim(colour, 0.92))
            canvas.rect(x - 0.021, top - 0.034, x + 0.021, top - 0.023, coping)
    canvas.rect(-0.15, FOOT, 1.15, FOOT + 0.012, _BLACK, facade.shadow * 0.8)
    _gate(canvas, facade, plan, top)


def _gate(canvas: Canvas, facade: Facade, plan: Plan, top: float) -> None:
    x0, x1 = plan.door - GATE + 0.012, plan.door + GATE - 0.012
    if facade.gate == "iron":
        for x in np.linspace(x0, x1, 10):
            canvas.rect(x - 0.002, top - 0.022, x + 0.002, FOOT - 0.004, grey(0.12))
        for y in (top - 0.012, FOOT - 0.012):
            canvas.rect(x0, y, x1, y + 0.005, grey(0.12))
    elif facade.gate == "wood":
        for x in np.linspace(x0, x1 - 0.02, 6):
            canvas.rect(x, top - 0.012, x + 0.016, FOOT - 0.004, (0.46, 0.38, 0.30))


def draw_tree(canvas: Canvas, facade: Facade, rng: np.random.Generator) -> None:
    """Draw a street tree at the picture's edge, its crown as the season has it."""
    if facade.tree == "none":
        return
    x = 0.03 if facade.tree == "left" else 0.97
    size = facade.tree_size
    bark = (0.34, 0.29, 0.25)
    canvas.poly([(x - 0.016, 0.90), (x - 0.010, 0.40), (x + 0.010, 0.40), (x + 0.016, 0.90)], bark)
    canvas.rect(x - 0.016, 0.40, x - 0.004, 0.895, _BLACK, 0.15)
    centre = 0.27
    _branches(canvas, x, 0.42, -90.0, 0.14 + 0.3 * size, 0.014, 4, bark, rng)
    if facade.season == "winter":
        return
    leaf = _LEAVES[facade.season]
    count = 420
    angle, radius = rng.uniform(0, 2 * np.pi, count), np.sqrt(rng.uniform(0, 1, count))
    lobes = (
        1 + 0.10 * np.sin(3 * angle + float(rng.uniform(0, 6))) + 0.07 * np.sin(5 * angle + float(rng.uniform(0, 6)))
    )
    xs, ys = x + size * lobes * radius * np.cos(angle), centre + 0.95 * size * lobes * radius * np.sin(angle)
    order = np.argsort(-ys)
    tufts = rng.uniform(0.010, 0.024, count)
    light = 1.16 - 0.42 * (ys - centre + size) / (2 * size) + 0.10 * rng.standard_normal(count)
    canvas.tufts(np.stack([xs, ys, tufts, 0.8 * tufts], -1)[order], leaf, light[order])


def _branches(
    canvas: Canvas,
    x: float,
    y: float,
    angle: float,
    length: float,
    width: float,
    depth: int,
    bark: Colour,
    rng: np.random.Generator,
) -> None:
    end_x = x + length * 0.5 * float(np.cos(np.radians(angle)))
    end_y = y + length * 0.5 * float(np.sin(np.radians(angle)))
    canvas.line([(x, y), (end_x, end_y)], width, bark)
    if depth:
        for turn in (-28.0, 6.0, 30.0):
            bend = angle + turn + float(rng.uniform(-10, 10))
            _branches(canvas, end_x, end_y, bend, length * 0.78, width * 0.62, depth - 1, bark, rng)


def draw_lamp(canvas: Canvas, facade: Facade) -> None:
    """Draw a street lamp."""
    if facade.lamp == "none":
        return
    x = 0.10 if facade.lamp == "left" else 0.90
    canvas.rect(x - 0.006, 0.24, x + 0.006, 0.895, grey(0.24))
    canvas.rect(x - 0.011, 0.80, x + 0.011, 0.895, grey(0.2))
    canvas.poly([(x - 0.022, 0.19), (x + 0.022, 0.19), (x + 0.014, 0.245), (x - 0.014, 0.245)], (0.9, 0.9, 0.82))
    canvas.poly([(x - 0.026, 0.19), (x, 0.165), (x + 0.026, 0.19)], grey(0.2))


def draw_car(canvas: Canvas, facade: Facade) -> None:
    """Draw a parked car, low at the picture's edge, in one of the greys and blues that cars have."""
    if facade.car == "none":
        return
    length = 0.40
    x = 0.06 if facade.car == "left" else 0.94 - length
    if facade.car == "right":
        x += 0.08
    else:
        x -= 0.08
    paint = hsv(facade.car_tint, 0.18, facade.car_tone)
    roof, waist, foot = (0.835 if facade.car_shape == "van" else 0.85), 0.895, 0.965
    cabin = {
        "hatchback": [(0.06, waist), (0.16, roof), (0.72, roof), (0.90, waist)],
        "saloon": [(0.18, waist), (0.30, roof), (0.66, roof), (0.80, waist)],
        "van": [(0.02, waist), (0.03, roof), (0.74, roof), (0.90, waist)],
    }[facade.car_shape]
    canvas.ellipse(x - 0.01, foot - 0.008, x + length + 0.01, foot + 0.022, _BLACK, 0.45)
    canvas.poly([(x + u * length, y) for u, y in cabin], paint)
    glass = [(u * 0.86 + 0.065, waist if y == waist else roof + 0.008) for u, y in cabin]
    canvas.poly([(x + u * length, y) for u, y in glass], (0.20, 0.25, 0.30))
    canvas.rect(x + 0.46 * length, roof, x + 0.49 * length, waist, paint)
    body = [
        (0.0, waist + 0.012),
        (0.03, waist - 0.002),
        (0.96, waist - 0.002),
        (1.0, waist + 0.02),
        (1.0, foot),
        (0.0, foot),
    ]
    canvas.poly([(x + u * length, y) for u, y in body], paint)
    canvas.rect(x, waist + 0.028, x + length, foot, _BLACK, 0.16)
    canvas.rect(x + 0.96 * length, waist + 0.01, x + length, waist + 0.024, (0.95, 0.93, 0.8))
    for u in (0.2, 0.8):
        cx = x + u * length
        canvas.ellipse(cx - 0.036, foot - 0.036, cx + 0.036, foot + 0.034, grey(0.08))
        canvas.ellipse(cx - 0.018, foot - 0.019, cx + 0.018, foot + 0.017, grey(0.6))
