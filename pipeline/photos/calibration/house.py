"""The house: walls, roof, chimneys, windows, bay and door."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

from pipeline.photos.calibration.attributes import Facade
from pipeline.photos.calibration.brick import brick_colour, brickwork
from pipeline.photos.calibration.canvas import Canvas, Colour, box, dim, grey, hsv, mix

GROUND = 0.80
DOOR_HEIGHT = 0.235
_STOREYS = {2: (0.275, 0.215), 3: (0.265, 0.185, 0.165)}
_BLACK: Colour = (0.02, 0.02, 0.04)


@dataclass(frozen=True)
class Plan:
    """Where the parts of a house are, in scene coordinates."""

    left: float
    right: float
    floors: tuple[float, ...]  # bottom of each storey, the ground first
    eaves: float
    door: float  # middle of the door
    columns: tuple[float, ...]  # middles of the columns of windows
    bay: float  # middle of the bay

    @property
    def middle(self) -> float:
        """Return the middle of the house."""
        return (self.left + self.right) / 2


def make_plan(facade: Facade) -> Plan:
    """Place the parts."""
    left, right = 0.5 - facade.width / 2, 0.5 + facade.width / 2
    heights = _STOREYS[facade.storeys]
    floors = tuple(GROUND - sum(heights[:i]) for i in range(len(heights)))
    near, far = left + 0.26 * facade.width, left + 0.74 * facade.width
    door: float
    columns: tuple[float, ...]
    if facade.layout == "centre":
        door, columns = 0.5, (left + 0.19 * facade.width, 0.5, left + 0.81 * facade.width)
    elif facade.layout == "left":
        door, columns = left + 0.22 * facade.width, (near, far)
    else:
        door, columns = left + 0.78 * facade.width, (near, far)
    bay = columns[-1] if facade.layout != "right" else columns[0]
    return Plan(left, right, floors, GROUND - sum(heights), door, columns, bay)


class House:
    """Draws one house and what one sees of its neighbours."""

    def __init__(self, canvas: Canvas, facade: Facade, rng: np.random.Generator) -> None:
        self.canvas, self.facade, self.plan = canvas, facade, make_plan(facade)
        self._bricks = brickwork(canvas, facade, rng)
        self._frame = grey(facade.frame_tone, 0.01)
        self._stone = grey(facade.render_tone, 0.015 + 0.03 * facade.render_warmth)
        warm = 12 if facade.roof_hue < 0.45 else 220
        self._roof = hsv(warm, 0.42 if warm == 12 else 0.14, facade.roof_tone)

    @property
    def bricks(self) -> Image.Image:
        """Return the picture of bricks, for other walls of the street."""
        return self._bricks

    def draw(self) -> None:
        """Draw the house from back to front."""
        self._chimneys()
        self._draw_roof()
        self._walls()
        self._upper_windows()
        self._ground_windows()
        self._bays()
        self._door()
        self._pipe()

    # Walls and roof

    def _extent(self) -> tuple[float, float]:
        """Return how far the row of houses reaches: over the picture's edge, or to the gap beside a semi."""
        left = self.plan.left if self.facade.kind == "semi-left" else -0.2
        right = self.plan.right if self.facade.kind == "semi-right" else 1.2
        return left, right

    def _walls(self) -> None:
        plan, facade, canvas = self.plan, self.facade, self.canvas
        left, right = self._extent()
        top = plan.eaves
        canvas.texture(box(left, top, right, GROUND), self._bricks)
        if facade.roof == "gable":
            canvas.texture(self._gable(), self._bricks)
        if facade.render == "ground":
            canvas.rect(plan.left, plan.floors[1], plan.right, GROUND, self._stone)
            for y in np.arange(plan.floors[1] + 0.04, GROUND, 0.04):
                canvas.rect(plan.left, y, plan.right, y + 0.003, dim(self._stone, 0.9))
        if facade.string_course or facade.render == "ground":
            canvas.rect(left, plan.floors[1] - 0.006, right, plan.floors[1] + 0.006, dim(self._stone, 0.97))
        canvas.rect(left, GROUND - 0.018, right, GROUND, dim(brick_colour(facade), 0.62))
        for edge in (plan.left, plan.right):
            if left < edge < right:
                canvas.rect(edge - 0.003, top, edge + 0.003, GROUND, _BLACK, 0.35)
        self._eaves(left, right)

    def _eaves(self, left: float, right: float) -> None:
        """Draw the gutter, or a parapet's coping, and the shadow below."""
        canvas, top = self.canvas, self.plan.eaves
        if self.facade.roof == "parapet":
            canvas.rect(left - 0.008, top - 0.012, right + 0.008, top + 0.004, dim(self._stone, 0.98))
            canvas.rect(left, top + 0.05, right, top + 0.058, dim(self._stone, 0.92))
        else:
            canvas.rect(left - 0.012, top - 0.006, right + 0.012, top + 0.008, grey(0.2))
        for i in range(4):
            canvas.rect(left, top + 0.004, right, top + 0.012 + 0.008 * i, _BLACK, self.facade.shadow * 0.3)

    def _gable(self) -> list[tuple[float, float]]:
        plan = self.plan
        half = 0.30 * self.facade.width
        peak = plan.eaves - 1.05 * self.facade.roof_height
        return [(plan.bay - half, plan.eaves + 0.002), (plan.bay, peak), (plan.bay + half, plan.eaves + 0.002)]

    def _draw_roof(self) -> None:
        plan, facade, canvas = self.plan, self.facade, self.canvas
        left, right = self._extent()
        if facade.roof == "parapet":
            canvas.texture(box(left, plan.eaves - 0.012, right, plan.eaves + 0.02), self._bricks)
            return
        ridge = plan.eaves - facade.roof_height
        slope = 0.05
        hip = [(left - 0.012, plan.eaves), (left + slope, ridge), (right - slope, ridge), (right + 0.012, plan.eaves)]
        canvas.poly(hip, self._roof)
        for i, y in enumerate(np.arange(ridge + 0.012, plan.eaves, 0.013)):
            share = (y - ridge) / facade.roof_height
            reach = slope * (1 - share) - 0.012 * share
            canvas.rect(left + reach, y, right - reach, y + 0.003, dim(self._roof, 0.8 if i % 2 else 0.86))
        canvas.rect(left + slope, ridge - 0.004, right - slope, ridge + 0.004, dim(self._roof, 0.75))
        if facade.roof == "gable":
            gable = self._gable()
            canvas.line([gable[0], gable[1], gable[2]], 0.022, dim(self._frame, 0.95))
        elif facade.dormer:
            self._draw_dormer(ridge)

    def _draw_dormer(self, ridge: float) -> None:
        plan, canvas = self.plan, self.canvas
        x, top, bottom = plan.bay, ridge + 0.012, plan.eaves - 0.018
        canvas.rect(x - 0.062, top, x + 0.062, bottom, dim(self._roof, 0.7))
        canvas.rect(x - 0.07, top - 0.008, x + 0.07, top + 0.004, dim(self._frame, 0.9))
        self._panes(x - 0.048, top + 0.012, x + 0.048, bottom - 0.004)

    def _chimneys(self) -> None:
        facade, plan, canvas = self.facade, self.plan, self.canvas
        places = [plan.right - 0.05, plan.left + 0.05][: facade.chimneys]
        foot = plan.eaves if facade.roof == "parapet" else plan.eaves - 0.4 * facade.roof_height
        top = (plan.eaves if facade.roof == "parapet" else plan.eaves - facade.roof_height) - facade.chimney_height
        for x in places:
            half = 0.018 + 0.012 * facade.pots
            for i in range(facade.pots):
                pot = x - half + (i + 0.5) * 2 * half / facade.pots
                canvas.rect(pot - 0.008, top - 0.032, pot + 0.008, top, (0.66, 0.40, 0.28))
                canvas.rect(pot - 0.010, top - 0.034, pot + 0.010, top - 0.027, (0.58, 0.34, 0.24))
            canvas.texture(box(x - half, top, x + half, foot), self._bricks)
            shade = (x - half, x - 0.2 * half) if facade.sun > 0 else (x + 0.2 * half, x + half)
            canvas.rect(shade[0], top, shade[1], foot, _BLACK, facade.shadow * 0.7)
            canvas.rect(x - half - 0.005, top - 0.004, x + half + 0.005, top + 0.008, dim(brick_colour(facade), 0.8))

    # Windows

    def _panes(self, x0: float, y0: float, x1: float, y1: float) -> None:
        """Draw frame, glass, curtains and bars in a box."""
        canvas, facade, edge = self.canvas, self.facade, 0.009
        canvas.rect(x0, y0, x1, y1, self._frame)
        gx0, gy0, gx1, gy1 = x0 + edge, y0 + edge, x1 - edge, y1 - edge
        width, height = gx1 - gx0, gy1 - gy0
        glass = mix((0.16, 0.19, 0.24), (0.55, 0.66, 0.76), facade.glass_tone)
        for i in range(5):
            top = gy0 + i * height / 5
            canvas.rect(gx0, top, gx1, top + height / 5, mix(glass, (0.62, 0.72, 0.80), 0.36 - 0.08 * i))
        if facade.blinds:
            canvas.rect(gx0, gy0, gx1, gy0 + 0.35 * height, hsv(facade.curtain_hue, 0.10, 0.86), 0.85)
        drape = 0.26 * facade.curtains * width
        for a, b in ((gx0, gx0 + drape), (gx1 - drape, gx1)):
            canvas.rect(a, gy0, b, gy1, hsv(facade.curtain_hue, 0.14, 0.82), 0.75)
        canvas.poly(
            [(gx0 + 0.1 * width, gy1), (gx0 + 0.55 * width, gy0), (gx0 + 0.75 * width, gy0), (gx0 + 0.3 * width, gy1)],
            (1, 1, 1),
            0.13,
        )
        canvas.rect(gx0, gy0, gx1, gy0 + 0.008, _BLACK, 0.35)
        self._bars(gx0, gy0, gx1, gy1)

    def _bars(self, x0: float, y0: float, x1: float, y1: float) -> None:
        canvas, style = self.canvas, self.facade.window_style
        uprights: tuple[float, ...]
        rails: tuple[float, ...]
        if style == "casement":
            uprights, rails = ((1 / 3, 2 / 3), ()) if x1 - x0 > 0.1 else ((0.5,), ())
        else:
            uprights, rails = ((0.5,), (0.5,)) if style == "sash" else ((1 / 3, 2 / 3), (0.25, 0.5, 0.75))
        bar = 0.0032 if style == "georgian" else 0.0045
        for share in uprights:
            x = x0 + share * (x1 - x0)
            canvas.rect(x - bar, y0, x + bar, y1, self._frame)
        for share in rails:
            y = y0 + share * (y1 - y0)
            thick = 0.007 if share == 0.5 else bar
            canvas.rect(x0, y - thick / 2, x1, y + thick / 2, self._frame)

    def _window(self, x: float, top: float, width: float, height: float) -> None:
        """Draw a window in the wall, with its lintel, sill and shadow."""
        canvas, facade = self.canvas, self.facade
        x0, x1, bottom = x - width / 2, x + width / 2, top + height
        if facade.lintel != "none":
            canvas.rect(x0 - 0.008, top - 0.018, x1 + 0.008, top, dim(self._stone, 0.95))
        if facade.lintel == "keystone":
            canvas.poly(
                [(x - 0.016, top - 0.03), (x + 0.016, top - 0.03), (x + 0.010, top), (x - 0.010, top)], self._stone
            )
        if facade.lintel == "arched":
            canvas.ellipse(x0 - 0.004, top - 0.028, x1 + 0.004, top + 0.03, dim(self._stone, 0.95))
        self._panes(x0, top, x1, bottom)
        canvas.rect(x0 - 0.010, bottom, x1 + 0.010, bottom + 0.011, dim(self._stone, 1.02))
        canvas.rect(x0 - 0.006, bottom + 0.011, x1 + 0.006, bottom + 0.019, _BLACK, facade.shadow)

    def _neighbours(self) -> list[float]:
        """Return the middles of the neighbours' windows that are in the picture."""
        left, right = self._extent()
        places = (self.plan.left - 0.115, self.plan.right + 0.115)
        return [x for x in places if left < x < right]

    def _upper_windows(self) -> None:
        plan, facade = self.plan, self.facade
        for storey, floor in enumerate(plan.floors[1:], start=1):
            height = facade.window_height * (1.0 if storey == 1 else 0.88)
            sill = floor - 0.055
            for x in (*plan.columns, *self._neighbours()):
                if facade.bay == "full" and storey == 1 and x == plan.bay:
                    continue
                width = facade.window_width * (0.8 if facade.layout == "centre" else 1.0)
                self._window(x, sill - height, width, height)

    def _ground_windows(self) -> None:
        plan, facade = self.plan, self.facade
        sill = GROUND - 0.095
        for x in (*plan.columns, *self._neighbours()):
            near_door = abs(x - plan.door) < 0.15
            if near_door or (facade.bay != "none" and x == plan.bay):
                continue
            width = facade.window_width * (0.85 if facade.layout == "centre" else 1.12)
            self._window(x, sill - facade.window_height, width, facade.window_height)

    def _bays(self) -> None:
        plan, facade, canvas = self.plan, self.facade, self.canvas
        if facade.bay == "none":
            return
        half = 0.105 if facade.layout == "centre" else 0.135
        storeys = plan.floors[:2] if facade.bay == "full" else plan.floors[:1]
        top = storeys[-1] - (0.20 if len(storeys) == 2 else 0.225)
        away = -1 if facade.sun > 0 else 1
        x0, x1 = plan.bay - half, plan.bay + half
        shadow_x = sorted((plan.bay + away * half, plan.bay + away * (half + 0.035)))
        canvas.rect(shadow_x[0], top, shadow_x[1], GROUND, _BLACK, facade.shadow * 0.8)
        if facade.render == "ground" and facade.bay == "ground":
            canvas.rect(x0, top, x1, GROUND, dim(self._stone, 0.98))
        else:
            canvas.texture(box(x0, top, x1, GROUND), self._bricks)
        canvas.poly(
            [(x0 - 0.012, top), (x0 + 0.03, top - 0.045), (x1 - 0.03, top - 0.045), (x1 + 0.012, top)], self._roof
        )
        canvas.rect(x0 - 0.012, top - 0.002, x1 + 0.012, top + 0.008, self._frame)
        slant = 0.27 * 2 * half
        for floor in storeys:
            sill = floor - (0.085 if floor == GROUND else 0.05)
            head = sill - facade.window_height * 1.05
            for a, b in ((x0, x0 + slant), (x0 + slant, x1 - slant), (x1 - slant, x1)):
                self._panes(a + 0.006, head, b - 0.006, sill)
            canvas.rect(x0 - 0.006, sill, x1 + 0.006, sill + 0.011, dim(self._stone, 1.0))
        shaded = (x0, x0 + slant) if away < 0 else (x1 - slant, x1)
        canvas.rect(shaded[0], top, shaded[1], GROUND, _BLACK, facade.shadow * 0.75)

    # Door

    def _door(self) -> None:
        plan, facade, canvas = self.plan, self.facade, self.canvas
        half = facade.door_width / 2
        bottom = GROUND - 0.008 * facade.steps
        top = bottom - DOOR_HEIGHT + (0.042 if facade.fanlight else 0.0) + 0.006 * facade.steps
        x0, x1 = plan.door - half, plan.door + half
        head = top - (0.042 if facade.fanlight else 0.0)
        surround = 0.02 if facade.porch in ("columns", "pediment") else 0.012
        canvas.rect(x0 - surround, head - surround, x1 + surround, bottom, self._frame)
        if facade.fanlight:
            canvas.rect(x0, head, x1, top - 0.006, mix((0.2, 0.24, 0.3), (0.62, 0.72, 0.8), facade.glass_tone))
            canvas.rect(plan.door - 0.004, head, plan.door + 0.004, top - 0.006, self._frame)
        paint = hsv(facade.door_hue, facade.door_saturation, facade.door_value)
        canvas.rect(x0, top, x1, bottom, paint)
        self._panels(x0, top, x1, bottom, paint)
        canvas.rect(x0, top, x1, top + 0.010, _BLACK, 0.3)
        canvas.ellipse(x1 - 0.022, bottom - 0.105, x1 - 0.012, bottom - 0.095, (0.9, 0.82, 0.5))
        for step in range(facade.steps):
            wide = half + 0.02 + 0.012 * (facade.steps - 1 - step)
            y = bottom + 0.008 * (facade.steps - 1 - step)
            canvas.rect(plan.door - wide, y, plan.door + wide, y + 0.010, grey(0.72 - 0.07 * step, 0.01))
        self._porch(x0, head, x1, bottom)

    def _panels(self, x0: float, top: float, x1: float, bottom: float, paint: Colour) -> None:
        canvas, style = self.canvas, self.facade.door_style
        width, height = x1 - x0, bottom - top
        if style == "plain":
            return
        rows = 3 if style == "six panels" else 2
        gap = 0.014
        for row in range(rows):
            for column in range(2):
                a = x0 + gap + column * (width - gap) / 2
                b = a + (width - 3 * gap) / 2
                c = top + gap + row * (height - gap) / rows
                d = c + (height - gap) / rows - gap
                if style == "glazed" and row == 0:
                    canvas.rect(a, c, b, d, (0.42, 0.50, 0.58))
                else:
                    canvas.rect(a, c, b, d, dim(paint, 0.82))
                    canvas.rect(a, d - 0.004, b, d, dim(paint, 1.12))
        canvas.rect(x0 + 0.4 * width, top + 0.52 * height, x0 + 0.6 * width, top + 0.55 * height, (0.88, 0.8, 0.5))

    def _porch(self, x0: float, head: float, x1: float, bottom: float) -> None:
        canvas, porch, stone = self.canvas, self.facade.porch, self._stone
        if porch == "none":
            return
        shade = self.facade.shadow
        canvas.rect(x0 - 0.02, head - 0.012, x1 + 0.02, head + 0.02, _BLACK, shade)
        if porch == "pediment":
            canvas.poly(
                [(x0 - 0.035, head - 0.012), (0.5 * (x0 + x1), head - 0.055), (x1 + 0.035, head - 0.012)], stone
            )
        canvas.rect(x0 - 0.035, head - 0.022, x1 + 0.035, head - 0.006, dim(stone, 0.97))
        if porch == "columns":
            for x in (x0 - 0.026, x1 + 0.026):
                canvas.rect(x - 0.009, head - 0.006, x + 0.009, bottom, dim(stone, 1.02))
                canvas.rect(x, head - 0.006, x + 0.009, bottom, _BLACK, 0.12)
                canvas.rect(x - 0.012, bottom - 0.012, x + 0.012, bottom, dim(stone, 0.9))

    def _pipe(self) -> None:
        if self.facade.downpipe == "none":
            return
        x = self.plan.left + 0.018 if self.facade.downpipe == "left" else self.plan.right - 0.018
        self.canvas.rect(x - 0.005, self.plan.eaves, x + 0.005, GROUND, grey(0.16))
        self.canvas.rect(x - 0.005, self.plan.eaves, x - 0.002, GROUND, grey(0.34))
