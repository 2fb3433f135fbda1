"""Steps in words and views in links, as SPEC.md has them; `templates/grid.js` says the same in the browser."""

from __future__ import annotations

from urllib.parse import quote

from atlas.grid import AXES
from atlas.layout import Node

_UNESCAPED = "!'()*"  # what encodeURIComponent leaves and urllib does not


def step_words(step: int) -> str:
    """Say what a step means.

    Example:
        >>> step_words(-3)
        '3 steps more deprived than the original'
    """
    if step == 0:
        return "as in the original"
    count = "1 step" if abs(step) == 1 else f"{abs(step)} steps"
    return f"{count} {'more' if step < 0 else 'less'} deprived than the original"


def view_hash(street: str, steps: Node) -> str:
    """Return the fragment that links to a view: a street's public name and three steps."""
    parts = [("street", quote(street, safe=_UNESCAPED))]
    parts += [(axis, str(step)) for axis, step in zip(AXES, steps, strict=True)]
    return "#" + "&".join(f"{key}={value}" for key, value in parts)


def typicality_byte(share: float) -> int:
    """Return a share 0 … 1 as the byte that a street's script carries."""
    return int(share * 255 + 0.5)
