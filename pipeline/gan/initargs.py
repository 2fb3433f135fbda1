"""What NVIDIA's networks say of themselves: the arguments they were made with, turned into an architecture.

Every option must be known: one that is not, or has a value that changes what the network computes, is an error, since
the tensors alone would not show it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from atlas.errors import InputError
from pipeline.gan.architecture import DiscriminatorArchitecture, GeneratorArchitecture, channel_widths, resolutions

# Options that change speed or training, not what the network computes when it is used.
_WITHOUT_EFFECT = frozenset(
    ["num_fp16_res", "fp16_channels_last", "fused_modconv_default", "use_fp16", "w_avg_beta", "freeze_layers"]
)
# Options that must have their usual value where they are given.
_USUAL = {
    "activation": "lrelu",
    "lr_multiplier": 0.01,
    "resample_filter": [1, 3, 3, 1],
    "use_noise": True,
    "kernel_size": 3,
}


_IMAGE = ("img_resolution", "img_channels")
MOST, LARGEST = 2**31, 8192
WHOLE_BATCH = 2**30  # a group as large as the batch, whatever that is


class _Arguments:
    """One network's arguments, taken one by one; what is wrong is gathered, what is left over is wrong too."""

    def __init__(self, given: Mapping[str, Any], path: str) -> None:
        self.given = dict(given)
        self.path = path
        self.faults: list[str] = []

    def table(self, name: str) -> _Arguments:
        value = self.given.pop(name, {})
        if not isinstance(value, dict):
            self.faults.append(f"{self.path}{name} must be a table")
            value = {}
        return _Arguments(value, f"{self.path}{name}.")

    def number(self, name: str, default: int | None = None) -> int:
        value = self.given.pop(name, default)
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < MOST:
            self.faults.append(f"{self.path}{name} must be a whole number below 2³¹, got {_shown(value)}")
            return 0
        return value

    def limit(self, name: str) -> float | None:
        value = self.given.pop(name, None)
        if value is not None and (not isinstance(value, int | float) or value <= 0):
            self.faults.append(f"{self.path}{name} must be a number above 0 or absent")
            return None
        return None if value is None else float(value)

    def usual(self, name: str, value: Any) -> None:
        given = self.given.pop(name, value)
        given = list(given) if isinstance(given, tuple) else given
        if given is not None and given != value:
            self.faults.append(f"{self.path}{name} must be {value}, got {_shown(given)}")

    def rest(self) -> list[str]:
        """Return all faults, after everything that is read was taken."""
        for name, value in _USUAL.items():
            self.usual(name, value)
        unknown = [f"{self.path}{_shown(n)} is an unknown option" for n in self.given if n not in _WITHOUT_EFFECT]
        return self.faults + unknown


def generator_of(given: Mapping[str, Any], file: str) -> GeneratorArchitecture:
    """Return the architecture of a generator made with these arguments.

    Raises:
        InputError: lists every option that is unknown, missing or not supported.
    """
    top = _Arguments(given, "")
    mapping, synthesis = top.table("mapping_kwargs"), top.table("synthesis_kwargs")
    # A later version of the official code gives the synthesis network's options at the top.
    beside = {n: top.given.pop(n) for n in list(top.given) if n not in {"z_dim", "c_dim", "w_dim", *_IMAGE}}
    synthesis.given = beside | synthesis.given
    w_dim, resolution = top.number("w_dim"), _resolution(top)
    mapping.usual("embed_features", w_dim)
    mapping.usual("layer_features", w_dim)
    synthesis.usual("architecture", "skip")
    architecture = GeneratorArchitecture(
        z_dim=top.number("z_dim"),
        c_dim=top.number("c_dim"),
        w_dim=w_dim,
        img_resolution=resolution,
        img_channels=top.number("img_channels"),
        mapping_layers=mapping.number("num_layers", 8),
        channels=_widths(synthesis, resolution),
        conv_clamp=synthesis.limit("conv_clamp"),
    )
    _refuse_faults([*top.rest(), *mapping.rest(), *synthesis.rest()], file)
    return architecture


def discriminator_of(given: Mapping[str, Any], file: str) -> DiscriminatorArchitecture:
    """Return the architecture of a discriminator made with these arguments.

    Raises:
        InputError: lists every option that is unknown, missing or not supported.
    """
    top = _Arguments(given, "")
    block, mapping, epilogue = (top.table(f"{n}_kwargs") for n in ("block", "mapping", "epilogue"))
    resolution, c_dim = _resolution(top), top.number("c_dim")
    channels = _widths(top, resolution)
    top.usual("architecture", "resnet")
    for table, name, default in ((top, "cmap_dim", channels[0]), (epilogue, "mbstd_group_size", WHOLE_BATCH)):
        if table.given.get(name, default) is None:
            table.given[name] = default
    cmap_dim = top.number("cmap_dim", channels[0])
    if not c_dim:
        mapping.given = {}  # without a condition there is no such network, whatever is said of it
    mapping.usual("embed_features", cmap_dim)
    mapping.usual("layer_features", cmap_dim)
    layers = mapping.number("num_layers", 8)
    architecture = DiscriminatorArchitecture(
        c_dim=c_dim,
        img_resolution=resolution,
        img_channels=top.number("img_channels"),
        channels=channels,
        cmap_dim=cmap_dim if c_dim else 0,
        mapping_layers=layers if c_dim else 0,
        mbstd_group=epilogue.number("mbstd_group_size", 4),
        mbstd_channels=epilogue.number("mbstd_num_channels", 1),
        conv_clamp=top.limit("conv_clamp"),
    )
    _refuse_faults([*top.rest(), *block.rest(), *mapping.rest(), *epilogue.rest()], file)
    return architecture


def _resolution(top: _Arguments) -> int:
    resolution = top.number("img_resolution")
    if resolution not in resolutions(LARGEST):
        top.faults.append(f"img_resolution must be a power of two from 4 to {LARGEST}, got {resolution}")
        return 4
    return resolution


def _widths(arguments: _Arguments, resolution: int) -> tuple[int, ...]:
    base, most = arguments.number("channel_base", 32768), arguments.number("channel_max", 512)
    return channel_widths(resolution, base, most)


def _shown(value: Any) -> str:
    """Return a value from a file for an error; a table or list by its kind, since one can be endless in print."""
    plain = isinstance(value, str | float | bool) or value is None or (isinstance(value, int) and abs(value) < MOST)
    return str(value)[:40] if plain else f"something of type {type(value).__name__}"


def _refuse_faults(faults: list[str], file: str) -> None:
    if faults:
        raise InputError(f"{file} describes a network that cannot be rebuilt: {'; '.join(faults)}")
