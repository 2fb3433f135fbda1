"""Drawing and writing figures. The only file that knows Matplotlib."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from atlas.files import write_bytes

INK, QUIET, MORE, LESS = "#1f1b16", "#655d51", "#9a4420", "#22605c"
"""The site's colours: text, notes, more deprived, less deprived."""

_STYLE: Any = {
    "svg.hashsalt": "inequality atlas",
    "font.family": "DejaVu Sans",
    "font.size": 8,
    "axes.edgecolor": QUIET,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": QUIET,
    "ytick.color": QUIET,
}
_DPI = 200
_CELL = 0.9  # inches, the side of an image in a grid


def write_figure(figure: Figure, folder: Path, name: str) -> list[str]:
    """Write a figure as SVG and PNG and return the files' names; no dates and no versions are written."""
    files = []
    with matplotlib.rc_context(_STYLE):
        for kind, metadata in (("svg", {"Date": None, "Creator": None}), ("png", {"Software": None})):
            stream = io.BytesIO()
            figure.savefig(stream, format=kind, dpi=_DPI, metadata=metadata, facecolor="white")
            write_bytes(folder / f"{name}.{kind}", stream.getvalue())
            files.append(f"{name}.{kind}")
    return files


def image_grid(
    images: Sequence[Sequence[np.ndarray | None]], rows: Sequence[str], columns: Sequence[str], note: str = ""
) -> Figure:
    """Lay images out as a table.

    Args:
        images: by row and column, [H, W, 3] uint8; None leaves a gap.
        rows: names of the rows, "" for none.
        columns: names of the columns.
        note: a line below.
    """
    with matplotlib.rc_context(_STYLE):
        left = 0.2 + 0.075 * max((len(row) for row in rows), default=0)
        width, height = left + _CELL * len(columns) + 0.1, 0.35 + _CELL * len(rows) + (0.3 if note else 0.1)
        figure = Figure(figsize=(max(width, 2.5), height))
        for r, row in enumerate(images):
            top = 0.35 + _CELL * r
            y = 1 - (top + _CELL) / height
            figure.text(0.08 / width, y + _CELL / 2 / height, rows[r], va="center", color=INK)
            for c, image in enumerate(row):
                if image is None:
                    continue
                x = (left + _CELL * c) / width
                pane = figure.add_axes((x, y, 0.97 * _CELL / width, 0.97 * _CELL / height))
                pane.imshow(image, interpolation="nearest")
                pane.set_axis_off()
        for c, name in enumerate(columns):
            x = (left + _CELL * (c + 0.485)) / width
            figure.text(x, 1 - 0.3 / height, name, ha="center", va="bottom", color=INK)
        if note:
            figure.text(0.08 / width, 0.08 / height, note, color=QUIET, fontsize=7)
    return figure


def scatter(
    clouds: Sequence[tuple[str, str, np.ndarray]], labels: tuple[str, str], line: float | None = None, note: str = ""
) -> Figure:
    """Draw clouds of points.

    Args:
        clouds: (name, colour, points [n, 2]) each.
        labels: of the two directions.
        line: where a vertical line stands, None for nowhere.
        note: a line below.
    """
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(4.6, 3.8))
        pane = figure.add_axes((0.13, 0.19, 0.84, 0.76))
        for name, colour, points in clouds:
            pane.scatter(points[:, 0], points[:, 1], s=7, color=colour, alpha=0.55, linewidths=0, label=name)
        if line is not None:
            pane.axvline(line, color=INK, linewidth=0.8)
        pane.set_xlabel(labels[0])
        pane.set_ylabel(labels[1])
        pane.legend(frameon=False, fontsize=7)
        figure.text(0.02, 0.02, note, color=QUIET, fontsize=7)
    return figure


def map_of_images(points: np.ndarray, marked: np.ndarray, images: np.ndarray, labels: tuple[str, str]) -> Figure:
    """Draw a cloud of points on the left, some of them numbered, and what each of these becomes on the right.

    Args:
        points: [n, 2].
        marked: [k, 2], k at most 12.
        images: [k, H, W, 3] uint8.
        labels: of the two directions.
    """
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(7.4, 3.6))
        pane = figure.add_axes((0.07, 0.13, 0.42, 0.82))
        pane.scatter(points[:, 0], points[:, 1], s=3, color=QUIET, alpha=0.35, linewidths=0)
        pane.scatter(marked[:, 0], marked[:, 1], s=60, color=LESS, linewidths=0)
        for k, (x, y) in enumerate(marked):
            pane.text(x, y, str(k + 1), color="white", ha="center", va="center", fontsize=6)
        pane.set_xlabel(labels[0])
        pane.set_ylabel(labels[1])
        for k, image in enumerate(images):
            row, column = divmod(k, 4)
            cell = figure.add_axes((0.54 + 0.115 * column, 0.66 - 0.3 * row, 0.107, 0.22))
            cell.imshow(image, interpolation="nearest")
            cell.set_title(str(k + 1), fontsize=7, color=LESS, pad=2)
            cell.set_axis_off()
        figure.text(0.505, 0.52, "G", ha="center", fontsize=11, style="italic", color=INK)
        figure.text(0.505, 0.47, "→", ha="center", fontsize=13, color=INK)
    return figure


def signed_images(differences: np.ndarray) -> tuple[np.ndarray, float]:
    """Turn differences [n, H, W, 3] into pictures around grey, all stretched alike.

    Returns:
        [n, H, W, 3] uint8, and the difference, of 255, that is drawn black or white.
    """
    reach = float(max(np.percentile(np.abs(differences), 99.5), 1.0))
    scaled: Any = np.clip(127.5 + 127.5 * differences / reach, 0, 255)
    return np.round(scaled).astype(np.uint8), reach
