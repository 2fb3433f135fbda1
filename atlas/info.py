"""What describes an atlas wherever it is: in the archive's attributes, in the packs and on the site."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from atlas import __version__
from atlas.errors import InputError
from atlas.grid import AXES, Grid

FORMAT = "inequality-atlas"
FORMAT_VERSION = 1
"""Version of the format that SPEC.md describes; raised when an older reader would misread what is written."""


@dataclass(frozen=True)
class ArchiveInfo:
    """What an archive says about itself.

    Attributes:
        title: what the atlas is called, any text.
        name: lower-case letters, digits and dashes.
        grid: how many bases and steps.
        size: width and height of an image in pixels.
        num_ws: layers of a latent code.
        w_dim: length of one layer of a latent code.
        method: how photographs were inverted ("projector").
        generator_sha256: of the generator's file.
        boundaries_sha256: of the boundaries' file.
        licence: of the photographs that the generator learned from.
        attribution: whom to name for them.
        truncation: psi that random bases were drawn with.
        seed: that everything started from.
        base_names: one public name per base, all different ("seed 12", or a photograph's id).
        warnings: what whoever looks at the images should know, a sentence each, such as that little is left of an axis
            once the others are taken out.

    Raises:
        InputError: the names do not fit the grid, two are the same, or the size is not positive.
    """

    title: str
    name: str
    grid: Grid
    size: int
    num_ws: int
    w_dim: int
    method: str
    generator_sha256: str
    boundaries_sha256: str
    licence: str
    attribution: str
    truncation: float
    seed: int
    base_names: tuple[str, ...]
    warnings: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.size < 1 or self.num_ws < 1 or self.w_dim < 1:
            raise InputError(f"size, num_ws and w_dim must be positive, got {self.size}, {self.num_ws}, {self.w_dim}")
        if len(self.base_names) != self.grid.bases:
            raise InputError(f"there must be one name per base: {self.grid.bases} bases, {len(self.base_names)} names")
        if len(set(self.base_names)) != len(self.base_names) or not all(self.base_names):
            raise InputError(f"the names of bases must be different and not empty, got {list(self.base_names)}")

    def attributes(self) -> dict[str, Any]:
        """Return the description as JSON-able attributes, in the order that SPEC.md gives."""
        attributes: dict[str, Any] = {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "title": self.title,
            "name": self.name,
            "axes": list(AXES),
            "steps": self.grid.steps,
            "bases": list(self.base_names),
            "size": self.size,
            "num_ws": self.num_ws,
            "w_dim": self.w_dim,
            "method": self.method,
            "generator_sha256": self.generator_sha256,
            "boundaries_sha256": self.boundaries_sha256,
            "licence": self.licence,
            "attribution": self.attribution,
            "truncation": float(self.truncation),
            "seed": self.seed,
            "software": {"name": "inequality-atlas", "version": __version__},
        }
        return attributes | ({"warnings": list(self.warnings)} if self.warnings else {})

    @classmethod
    def from_attributes(cls, attributes: Mapping[str, Any], where: str) -> ArchiveInfo:
        """Read what `attributes` wrote; ``where`` names the file or folder in errors.

        Raises:
            InputError: another format, a newer version, or an attribute that is missing or of the wrong type.
        """
        check_format(attributes, where)
        if attributes.get("axes") != list(AXES):
            raise InputError(f"{where}: axes must be {', '.join(AXES)}, got {attributes.get('axes')!r}")
        values = {name: _value(attributes, name, kind, where) for name, kind in _TYPES.items()}
        names = _value(attributes, "bases", list, where)
        if not all(isinstance(name, str) for name in names):
            raise InputError(f"{where}: bases must be a list of names, got {names!r}")
        try:
            grid = Grid(bases=len(names), steps=_value(attributes, "steps", int, where))
            return cls(grid=grid, base_names=tuple(names), warnings=_warnings(attributes, where), **values)
        except (ValueError, InputError) as error:
            raise InputError(f"{where}: {error}") from error


def check_format(attributes: Mapping[str, Any], where: str, expected: str = FORMAT) -> None:
    """Refuse attributes of another format or of a version that this software does not know.

    Raises:
        InputError: so.
    """
    if attributes.get("format") != expected:
        raise InputError(f"{where} must say format {expected!r}, got {attributes.get('format')!r}")
    version = attributes.get("format_version")
    if version != FORMAT_VERSION:
        raise InputError(
            f"{where} has format version {version!r} and this software reads version {FORMAT_VERSION}: "
            "install a version of inequality-atlas that matches"
        )


_TYPES: dict[str, type] = {
    "title": str,
    "name": str,
    "size": int,
    "num_ws": int,
    "w_dim": int,
    "method": str,
    "generator_sha256": str,
    "boundaries_sha256": str,
    "licence": str,
    "attribution": str,
    "truncation": float,
    "seed": int,
}


def _warnings(attributes: Mapping[str, Any], where: str) -> tuple[str, ...]:
    warnings = attributes.get("warnings", [])
    if not isinstance(warnings, list) or not all(isinstance(warning, str) for warning in warnings):
        raise InputError(f"{where}: warnings must be a list of sentences, got {warnings!r}")
    return tuple(warnings)


def _value(attributes: Mapping[str, Any], name: str, kind: type, where: str) -> Any:
    if name not in attributes:
        raise InputError(f"{where}: the attribute {name} is missing")
    value = attributes[name]
    if kind is float and isinstance(value, int):
        value = float(value)
    if not isinstance(value, kind) or isinstance(value, bool):
        raise InputError(f"{where}: the attribute {name} must be of type {kind.__name__}, got {value!r}")
    return value
