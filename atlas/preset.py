"""The preset: one TOML file that says everything about one atlas. Read strictly; an unknown key is an error.

Each table of the file is a frozen dataclass below; a field's default, type, range and choices stand where it is
declared. `load_preset` checks them and names the dotted field in its errors. No section imports PyTorch, so that a
plain installation can plan an atlas it cannot train.
"""

from __future__ import annotations

import dataclasses
import re
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_type_hints

from atlas.errors import InputError
from atlas.resources import resource_folder

ENCODERS = ("e4e", "restyle")
METHODS = (*ENCODERS, "projector")
"""How latent codes are found: by a trained encoder, or by optimisation."""


def _limits(default: Any, low: float, high: float) -> Any:
    return field(default=default, metadata={"range": (low, high)})


def _choice(default: str, *choices: str) -> Any:
    return field(default=default, metadata={"choices": choices})


def _several(*default: str, choices: tuple[str, ...]) -> Any:
    return field(default=default, metadata={"choices": choices})


@dataclass(frozen=True)
class DatasetSettings:
    """``[dataset]``: where the photographs come from and what size they get.

    With ``source = "calibration"`` the project draws its own street and needs no file. With
    ``source = "photographs"`` the file names are looked up in the folder given by ``--data``.

    ``square`` is how a photograph that is none becomes one: the centred square is cut out ("crop"), or all of it is
    kept between black bars ("pad"). ``keep`` is a table of the photographs to keep, ``look_ahead`` the metres from
    camera to house. A table of ranks that is no File 7 is read by ``area_column``, a heading, and the other three, each
    "KIND:END:HEADING" such as "score:high:Income deprivation rate": rank or score, and which end is the deprived one.
    """

    source: str = _choice("calibration", "calibration", "photographs")
    size: int = _limits(64, 4, 1024)
    photographs: int = _limits(2000, 1, 10_000_000)
    photos: str = "photos.zip"
    photos_csv: str = "photos.csv"
    areas: str = ""
    imd: str = ""
    square: str = _choice("crop", "crop", "pad")
    keep: str = ""
    look_ahead: float = _limits(0.0, 0.0, 100.0)
    area_column: str = ""
    health_column: str = ""
    income_column: str = ""
    education_column: str = ""
    licence: str = ""
    attribution: str = ""


@dataclass(frozen=True)
class TrainSettings:
    """``[train]``: the StyleGAN2-ADA that is trained. 0 stands for "as the configuration has it".

    ``init`` is a checkpoint to begin from, or the folder of an earlier training; of a relative path, looked up in the
    folder given by ``--data``. ``augment = "fixed"`` keeps the probability at ``p``; "ada" steers it up to ``p_max``.
    ``blit``, ``geometry`` and ``colour`` switch the augmentation's groups. Precision "fp64" is for checks.
    ``sample`` names networks that come with the software and stand for training with these settings: they are used
    until `atlas run --from train` trains anew.
    """

    sample: str = ""
    config: str = _choice("narrow", "auto", "paper256", "paper512", "stylegan2", "narrow")
    kimg: float = _limits(1000.0, 0.001, 1_000_000)
    batch: int = _limits(0, 0, 4096)
    channel_base: int = _limits(0, 0, 1 << 20)
    channel_max: int = _limits(0, 0, 4096)
    latent: int = _limits(0, 0, 4096)
    gamma: float = _limits(0.0, 0.0, 1e6)
    augment: str = _choice("ada", "ada", "fixed", "none")
    target: float = _limits(0.6, 0.0, 1.0)
    p: float = _limits(0.2, 0.0, 1.0)
    p_max: float = _limits(0.8, 0.0, 1.0)
    blit: bool = True
    geometry: bool = True
    colour: bool = True
    mirror: bool = False
    precision: str = _choice("fp32", "fp32", "bf16", "fp16", "fp64")
    snapshot_kimg: float = _limits(200.0, 0.001, 1_000_000)
    init: str = ""


@dataclass(frozen=True)
class EncoderSettings:
    """``[encoder]``: how e4e and ReStyle are trained. 0 stands for "as the backbone's configuration has it".

    ``backbone`` is "full", as published and for a GPU, or "narrow", for small generators and processors. ``steps`` 0
    are 200,000, as published, for the one and 2,000 for the other. ``variant`` is what ReStyle refines with.
    ``generated`` is the share of every batch that the generator renders itself, whose codes are known and learnt
    directly: none as published. It keeps codes nearer to the generator's own; of photographs, an equally long training
    then gives back less. ``lpips`` is a folder with the user's LPIPS files (AlexNet), ``moco`` the user's MoCo v2
    checkpoint, the similarity where it is given, both looked up as ``train.init`` is; without, EfficientNet-Lite0
    stands for both. ``half`` writes the encoder's weights as float16.
    """

    backbone: str = _choice("narrow", "narrow", "full")
    steps: int = _limits(0, 0, 100_000_000)
    batch: int = _limits(0, 0, 4096)
    optimizer: str = _choice("default", "default", "ranger", "adam")
    lr: float = _limits(0.0, 0.0, 1.0)
    generated: float = _limits(0.0, 0.0, 1.0)
    variant: str = _choice("e4e", "e4e", "psp")
    iterations: int = _limits(5, 1, 100)
    similarity: str = _choice("default", "default", "efficientnet-lite0", "moco", "off")
    lpips: str = ""
    moco: str = ""
    stage_start: int = _limits(0, 0, 100_000_000)
    stage_every: int = _limits(0, 0, 100_000_000)
    checkpoint: int = _limits(0, 0, 100_000_000)
    mirror: bool = False
    half: bool = False


@dataclass(frozen=True)
class InvertSettings:
    """``[invert]``: how photographs find their latent codes.

    ``methods`` are tried side by side; whose codes and boundaries the atlas is made of, ``render.method`` says.

    ``photographs`` chooses which are inverted: "all", or "extremes": those in the most or least deprived fifth of any
    axis. ``limit`` spares the projector, which takes seconds where an encoder takes milliseconds: it inverts at most
    that many of them (0: all), a seeded choice that keeps the classes balanced. ``compared`` photographs that no
    encoder is trained on are inverted by every method beside these, so that methods can be compared on them.

    ``lpips`` is a folder with the user's LPIPS files (VGG16), looked up as ``train.init`` is, by which the projector
    then searches and all methods are measured; without, EfficientNet-Lite0 stands for it.

    The rest is the projector's: ``steps`` of its optimiser, one code per photograph ("w") or one per layer ("w+"),
    ``start`` from an encoder's codes rather than from the mean, ``patience``: after so many steps without gain a
    photograph goes straight to the ramp-down (0: never, as published), ``pixel_weight``: of the squared difference of
    pixels beside the features' (0 as published), and whether the optimised noise is kept in the file.
    """

    methods: tuple[str, ...] = _several("projector", choices=METHODS)
    batch: int = _limits(64, 1, 4096)
    photographs: str = _choice("all", "all", "extremes")
    limit: int = _limits(0, 0, 10_000_000)
    compared: int = _limits(200, 1, 1_000_000)
    lpips: str = ""
    steps: int = _limits(1000, 1, 100_000)
    space: str = _choice("w", "w", "w+")
    start: str = _choice("", "", *ENCODERS)
    patience: int = _limits(0, 0, 100_000)
    pixel_weight: float = _limits(3.0, 0.0, 1e6)
    keep_noise: bool = False


@dataclass(frozen=True)
class BoundarySettings:
    """``[boundaries]``: the SVMs between the most and the least deprived share of areas, and what is said about them.

    ``c`` is the SVM's, on standardised codes: smaller is smoother; 0 has it chosen inside the training part. With
    ``directions`` "orthogonal" a walk leaves the other axes' scores alone, as in the paper; with "partial" it changes
    the code as it changes, on average, between photographs that differ in one dimension and not in the others.
    ``bases`` is how many random bases are walked to measure what changes, ``reinverted`` how many of them are inverted
    again, in ``reinvert_steps`` steps, to measure which scores a walk moves. ``umap`` draws the photographs' projection
    by UMAP, which must be installed.
    """

    fifth: float = _limits(0.2, 0.01, 0.5)
    c: float = _limits(0.0, 0.0, 1e6)
    folds: int = _limits(5, 2, 100)
    directions: str = _choice("orthogonal", "orthogonal", "partial")
    bootstraps: int = _limits(1000, 100, 100_000)
    permutations: int = _limits(200, 0, 100_000)
    bases: int = _limits(64, 2, 10_000)
    reinverted: int = _limits(12, 0, 10_000)
    reinvert_steps: int = _limits(50, 1, 100_000)
    figures: bool = True
    umap: bool = False


@dataclass(frozen=True)
class RenderSettings:
    """``[render]``: the grid.

    ``bases`` is ``random:COUNT`` or ``inverted:FILE,FILE…``; ``method`` is the inversion whose boundaries are walked
    and whose codes inverted bases have.
    """

    method: str = _choice("projector", *METHODS)
    bases: str = "random:8"
    steps: int = _limits(5, 1, 50)
    truncation: float = _limits(0.7, 0.0, 2.0)
    batch: int = _limits(32, 1, 4096)


@dataclass(frozen=True)
class PackSettings:
    """``[pack]``: what the browser loads."""

    quality: int = _limits(80, 1, 100)


@dataclass(frozen=True)
class SiteSettings:
    """``[site]``: words on the page, and its address if it will have one."""

    url: str = ""
    authors: str = ""


@dataclass(frozen=True)
class Preset:
    """One atlas. ``name`` names its archive, ``NAME.zarr``; it is lower-case letters, digits and dashes."""

    name: str
    title: str
    seed: int = _limits(1, 0, 2**31 - 1)
    dataset: DatasetSettings = field(default_factory=DatasetSettings)
    train: TrainSettings = field(default_factory=TrainSettings)
    encoder: EncoderSettings = field(default_factory=EncoderSettings)
    invert: InvertSettings = field(default_factory=InvertSettings)
    boundaries: BoundarySettings = field(default_factory=BoundarySettings)
    render: RenderSettings = field(default_factory=RenderSettings)
    pack: PackSettings = field(default_factory=PackSettings)
    site: SiteSettings = field(default_factory=SiteSettings)


def find_preset(given: str) -> Path:
    """Return the preset file meant by ``given``: a path, or the name of one that is shipped (``calibration``).

    ``presets/calibration.toml`` finds the shipped one also where no checkout is at hand.

    Raises:
        InputError: neither exists; the message lists the shipped ones.
    """
    path = Path(given)
    if path.is_file():
        return path
    shipped = resource_folder("presets")
    candidate = shipped / f"{path.stem}.toml"
    if candidate.is_file() and path.parent in (Path(), Path("presets")):
        return candidate
    names = ", ".join(sorted(p.stem for p in shipped.glob("*.toml")))
    raise InputError(f"no preset at {given}: give the path of a TOML file or one of {names}")


def load_preset(path: Path) -> Preset:
    """Read and check a preset.

    Raises:
        InputError: not TOML, an unknown key, a value of the wrong type or out of range; the message names the file
            and the dotted field.
    """
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not valid TOML: {error}") from error
    try:
        preset: Preset = _build(Preset, table, "")
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]*", preset.name):
        raise InputError(f"{path}: name must be lower-case letters, digits and dashes, got {preset.name!r}")
    _check_methods(preset, path)
    return preset


def _check_methods(preset: Preset, path: Path) -> None:
    """Refuse to walk, or to start from, what is not inverted."""
    methods = preset.invert.methods
    needed = {"render.method": preset.render.method}
    if "projector" in methods and preset.invert.start:
        needed["invert.start"] = preset.invert.start
    for dotted, method in needed.items():
        if method not in methods:
            raise InputError(f"{path}: {dotted} must be one of invert.methods, {', '.join(methods)}, got {method!r}")


def override(settings: Any, **given: Any) -> Any:
    """Return ``settings`` with the options that were given on the command line (those not None), checked.

    Raises:
        InputError: a value is out of range.
    """
    table = dataclasses.asdict(settings) | {k: v for k, v in given.items() if v is not None}
    return _build(type(settings), table, "")


def located(settings: Any, data: Path | None, *names: str) -> Any:
    """Return a section with the files that it names looked up in the data folder; without one, where the command runs.

    Args:
        settings: a section of a preset.
        data: the folder; None for none.
        names: of its fields that hold a path, or nothing.
    """
    given = {name: getattr(settings, name) for name in names} if data else {}
    return override(settings, **{name: str(data / path) for name, path in given.items() if data and path})


def _build(kind: type, table: dict[str, Any], prefix: str) -> Any:
    fields = {f.name: f for f in dataclasses.fields(kind)}
    hints = get_type_hints(kind)
    for key in table:
        if key not in fields:
            raise InputError(f"unknown key {prefix}{key}: the keys here are {', '.join(fields)}")
    values = {}
    for name, spec in fields.items():
        dotted = prefix + name
        if name not in table:
            if spec.default is dataclasses.MISSING and spec.default_factory is dataclasses.MISSING:
                raise InputError(f"{dotted} is missing")
            continue
        value = table[name]
        if dataclasses.is_dataclass(hints[name]):
            if not isinstance(value, dict):
                raise InputError(f"{dotted} must be a table, got {value!r}")
            values[name] = _build(hints[name], value, f"{dotted}.")
        else:
            values[name] = _checked(value, hints[name], spec.metadata, dotted)
    return kind(**values)


def _checked(value: Any, kind: type, metadata: Any, dotted: str) -> Any:
    if kind == tuple[str, ...]:
        return _checked_list(value, metadata["choices"], dotted)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise InputError(f"{dotted} must be {_KIND_NAMES[kind]}, got {value!r}")
    if "range" in metadata:
        low, high = metadata["range"]
        if not low <= value <= high:
            raise InputError(f"{dotted} must be {low} … {high}, got {value}")
    if "choices" in metadata and value not in metadata["choices"]:
        raise InputError(f"{dotted} must be one of {', '.join(metadata['choices'])}, got {value!r}")
    return value


def _checked_list(value: Any, choices: tuple[str, ...], dotted: str) -> tuple[str, ...]:
    if not isinstance(value, list | tuple) or not value or len(set(map(str, value))) < len(value):
        raise InputError(f"{dotted} must be a list of one or more of {', '.join(choices)}, each once, got {value!r}")
    for entry in value:
        if entry not in choices:
            raise InputError(f"{dotted} must hold only {', '.join(choices)}, got {entry!r}")
    return tuple(value)


_KIND_NAMES = {int: "a whole number", float: "a number", str: "a text", bool: "true or false"}
