"""A flat map around a place, in metres: good to a part in a thousand over a city."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely

METRES_PER_DEGREE = 6_371_008.8 * math.pi / 180


@dataclass(frozen=True)
class Plane:
    """Equirectangular, true at the latitude ``lat`` in degrees; x metres east, y metres north of (0, 0)."""

    lat: float

    @property
    def scale(self) -> tuple[float, float]:
        """Return metres per degree (of longitude, of latitude)."""
        return METRES_PER_DEGREE * math.cos(math.radians(self.lat)), METRES_PER_DEGREE

    def to_metres(self, lat: Any, lon: Any) -> tuple[Any, Any]:
        """Return (x, y) of a point, or of arrays of them."""
        x, y = self.scale
        return lon * x, lat * y

    def to_degrees(self, x: Any, y: Any) -> tuple[Any, Any]:
        """Return (lat, lon) of a point, or of arrays of them."""
        width, height = self.scale
        return y / height, x / width

    def line(self, corners: np.ndarray) -> Any:
        """Return the shapely LineString in metres of ``corners`` [n, 2], longitude and latitude."""
        return shapely.linestrings(corners * np.array(self.scale))


def moved(lat: float, lon: float, heading: float, metres: float) -> tuple[float, float]:
    """Return (lat, lon) of the point ``metres`` from another, in the direction ``heading``, clockwise from north."""
    width, height = Plane(lat).scale
    angle = math.radians(heading)
    return lat + metres * math.cos(angle) / height, lon + metres * math.sin(angle) / width
