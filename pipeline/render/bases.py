"""The codes that walks start from: random samples of the generator, or photographs that were inverted."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np

from atlas.errors import InputError
from pipeline.gan import Generator
from pipeline.gan.rendering import random_codes
from pipeline.inversion.latents import Latents


@dataclass(frozen=True)
class Bases:
    """Codes and public names of the bases.

    Attributes:
        codes: [base, num_ws, w_dim] float32.
        names: one per base.
    """

    codes: np.ndarray
    names: tuple[str, ...]


def parse_bases(text: str) -> tuple[str, int | tuple[str, ...]]:
    """Read ``random:COUNT`` or ``inverted:FILE,FILE…``.

    Returns:
        ("random", count) or ("inverted", files).

    Raises:
        InputError: neither form, or a count below 1.
    """
    kind, _, rest = text.partition(":")
    if kind == "random" and rest.isdecimal() and int(rest) >= 1:
        return kind, int(rest)
    files = tuple(part.strip() for part in rest.split(",") if part.strip())
    if kind == "inverted" and files:
        return kind, files
    raise InputError(f"bases must be random:COUNT or inverted:FILE,FILE…, got {text!r}")


def random_bases(generator: Generator, count: int, truncation: float, seed: int) -> Bases:
    """Draw bases as `random_codes` does, named "random 1" and so on."""
    return Bases(random_codes(generator, count, truncation, seed), tuple(f"random {i + 1}" for i in range(count)))


def inverted_bases(latents: Latents, wanted: tuple[str, ...]) -> Bases:
    """Take the codes of photographs, named by their file in the dataset, with or without folder and suffix.

    Raises:
        InputError: a file is not among the inverted ones; the message names it.
    """
    rows: dict[str, int] = {}
    for row, file in enumerate(latents.files):
        for name in (file, PurePosixPath(file).name, PurePosixPath(file).stem):
            rows.setdefault(name, row)
    missing = [file for file in wanted if file not in rows]
    if missing:
        raise InputError(
            f"{missing[0]} is not among the {len(latents.files)} inverted photographs: "
            f"give names such as {latents.files[0]}"
        )
    codes = latents.w[[rows[file] for file in wanted]].astype(np.float32)
    return Bases(codes, tuple(PurePosixPath(file).stem for file in wanted))
