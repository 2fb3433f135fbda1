"""What an atlas will weigh, how long it will take, and which hosts can carry it, before anything is rendered.

Weights follow from the same layout that `atlas.packs` uses and from measured bytes per pixel (`atlas.layout`). Times
are estimates; each names what it rests on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from atlas.errors import InputError
from atlas.grid import Grid
from atlas.hosts import HOSTS, Host
from atlas.layout import (
    KEYS,
    THUMB_QUALITY,
    KeyLayout,
    SheetLayout,
    ThumbLayout,
    choose_sheets,
    choose_thumbs,
    image_bytes,
)
from atlas.manifest import layout_json
from atlas.preset import Preset

_LIMITS = {"bytes": "bytes", "files": "files", "file_bytes": "bytes in one file"}
_PAGE_FILES = 12
_PAGE_BYTES = 80_000
_ENTRY_BYTES = 185  # of a file in manifest.json, and as many in manifest.js
_LINE_BYTES = 100  # of a file in manifest-sha256.txt

# Lossless bytes per raw byte in the archive (blosc-zstd 5, bit shuffle): measured on photographs, see SPEC.md.
_ARCHIVE_RATIO = ((64, 0.79), (128, 0.74), (256, 0.65))

# Seconds per 1,000 images of StyleGAN2-ADA training, `auto` configuration, one GPU, as published by its authors
# (README and configs of stylegan2-ada-pytorch and stylegan3): resolution → (V100, A100 where published).
_PUBLISHED = {128: (13.3, None), 256: (20.8, 12.5), 512: (71.6, 41.1), 1024: (158.0, None)}
# A projector step passes one image through generator and features, forward and back; a training image passes the
# generator 4 times and the discriminator 9 times. Both shares are counted from that, not measured.
_PROJECTOR_SHARE = 0.6
_RENDER_SHARE = 1 / 15
_NARROW_SECONDS_64 = 20.0  # per 1,000 images at 64 px on 2 cores: 180,000 images an hour
# Seconds per image and per pixel of packing on 2 cores: measured at 64, 128, 256 and 512 px, rounded up.
_PACK_SECONDS = (0.0005, 6e-8)


@dataclass(frozen=True)
class Fit:
    """Whether a host carries an atlas; ``limit`` names the first limit that is broken, None if it fits."""

    host: Host
    fits: bool
    limit: str | None
    why: str


@dataclass(frozen=True)
class Plan:
    """What a grid will weigh.

    Attributes:
        grid: the grid.
        size: pixels of an image.
        sheets: the layout of packs.
        thumbs: the layout of thumbnails.
        bytes: of the site.
        files: of the site.
        largest: bytes of its largest file.
        archive_bytes: of the archive.
        seconds: per stage: seconds, and what the estimate rests on.
        hosts: how it fits each host that was asked about.
    """

    grid: Grid
    size: int
    sheets: SheetLayout
    thumbs: ThumbLayout
    bytes: int
    files: int
    largest: int
    archive_bytes: int
    seconds: Mapping[str, tuple[float, str]]
    hosts: tuple[Fit, ...]

    @property
    def best(self) -> Fit:
        """Return a host that fits, or else the first one that does not."""
        sites = [fit for fit in self.hosts if fit.host.carries == "site"] or list(self.hosts)
        return next((fit for fit in sites if fit.fits), sites[0])

    def to_json(self) -> dict[str, Any]:
        """Return the plan as JSON-able values, as ``atlas plan --json`` prints them."""
        return {
            "images": self.grid.images,
            "bases": self.grid.bases,
            "steps": self.grid.steps,
            "size": self.size,
            "bytes": self.bytes,
            "files": self.files,
            "fits": self.best.fits,
            "limit": self.best.limit,
            "layout": {
                "format": "jpeg",
                "packs": self.sheets.packs * self.grid.bases,
                **layout_json(self.sheets, self.thumbs, KeyLayout(self.size)),
            },
            "archive_bytes": self.archive_bytes,
            "seconds": {
                stage: {"estimate": round(seconds, 1), "basis": basis}
                for stage, (seconds, basis) in self.seconds.items()
            },
            "hosts": [
                {"host": f.host.name, "fits": f.fits, "limit": f.limit, "why": f.why, "note": f.host.note}
                for f in self.hosts
            ],
        }


def plan(
    preset: Preset,
    *,
    size: int | None = None,
    steps: int | None = None,
    bases: int | None = None,
    host: str | None = None,
) -> Plan:
    """Plan the atlas of a preset, with some numbers replaced.

    Args:
        preset: says the size, the grid, the JPEG quality and the work to be done.
        size: pixels of an image.
        steps: n of the grid.
        bases: how many streets.
        host: one of `atlas.hosts.HOSTS`, or None for all.

    Raises:
        InputError: there is no such host, or a number is out of range.
    """
    if host is not None and host not in HOSTS:
        raise InputError(f"host must be one of {', '.join(HOSTS)}, got {host!r}")
    pixels = preset.dataset.size if size is None else size
    grid = _grid(preset, steps, bases)
    if not 1 <= pixels <= 4096:
        raise InputError(f"size must be 1 … 4096 pixels, got {pixels}")
    sheets = choose_sheets(grid, pixels, preset.pack.quality)
    thumbs = choose_thumbs(grid, pixels)
    files = grid.bases * (sheets.packs + 4) + _PAGE_FILES
    site = _site_bytes(grid, pixels, preset.pack.quality, thumbs, files)
    cells = sheets.block[0] * sheets.block[1] * sheets.block[2]
    largest = round(max(cells * image_bytes(pixels, preset.pack.quality), files * _ENTRY_BYTES))
    archive = _archive_bytes(grid, pixels)
    asked = [HOSTS[host]] if host else list(HOSTS.values())
    return Plan(
        grid=grid,
        size=pixels,
        sheets=sheets,
        thumbs=thumbs,
        bytes=site,
        files=files,
        largest=largest,
        archive_bytes=archive,
        seconds=_seconds(preset, grid, pixels),
        hosts=tuple(_fit(each, site, files, largest, archive) for each in asked),
    )


def _grid(preset: Preset, steps: int | None, bases: int | None) -> Grid:
    try:
        return Grid(
            bases=_bases(preset.render.bases) if bases is None else bases,
            steps=preset.render.steps if steps is None else steps,
        )
    except ValueError as error:
        raise InputError(str(error)) from error


def _bases(given: str) -> int:
    kind, _, rest = given.partition(":")
    if kind == "random" and rest.isdecimal() and int(rest) > 0:
        return int(rest)
    if kind == "inverted" and all(rest.split(",")):
        return len(rest.split(","))
    raise InputError(f"render.bases must be random:COUNT or inverted:FILE,FILE…, got {given!r}")


def _site_bytes(grid: Grid, size: int, quality: int, thumbs: ThumbLayout, files: int) -> int:
    cell = image_bytes(size, quality)
    per_base = (grid.side**3 + len(KEYS) + 1) * cell
    per_base += thumbs.side**3 * image_bytes(thumbs.size, THUMB_QUALITY)
    per_base += 4 / 3 * grid.side**3  # typicality, in base64
    return round(grid.bases * per_base + files * (2 * _ENTRY_BYTES + _LINE_BYTES) + _PAGE_BYTES)


def _archive_bytes(grid: Grid, size: int) -> int:
    ratio = next((ratio for limit, ratio in _ARCHIVE_RATIO if size <= limit), _ARCHIVE_RATIO[-1][1])
    return round(grid.images * (3 * size * size * ratio + 16 + 16))  # + its place in the index, scores, typicality


def _fit(host: Host, site: int, files: int, largest: int, archive: int) -> Fit:
    deposit = host.carries == "deposit"
    needs = (
        ("bytes", site + archive if deposit else site, host.bytes),
        ("files", 2 if deposit else files, host.files),
        ("file_bytes", max(site, archive) if deposit else largest, host.file_bytes),
    )
    for limit, needed, allowed in needs:
        if allowed is not None and needed > allowed:
            return Fit(host, False, limit, f"{host.title} takes {allowed:,} {_LIMITS[limit]}, this needs {needed:,}")
    return Fit(host, True, None, f"fits {host.title}")


def _seconds(preset: Preset, grid: Grid, size: int) -> dict[str, tuple[float, str]]:
    """Estimate each long stage. GPU figures are published ones for one card; nothing here was timed on a GPU."""
    per_kimg, basis = _training_speed(preset, size)
    photographs = _projected(preset)
    kimg_inverted = photographs * preset.invert.steps / 1000
    pack = grid.images * (_PACK_SECONDS[0] + _PACK_SECONDS[1] * size * size)
    return {
        "train": (preset.train.kimg * per_kimg, f"{preset.train.kimg:g} kimg at {per_kimg:.1f} s per kimg: {basis}"),
        "invert": (
            kimg_inverted * per_kimg * _PROJECTOR_SHARE,
            f"projector: {photographs:,} photographs × {preset.invert.steps:,} steps, a step counted as "
            f"{_PROJECTOR_SHARE} of a training image: {basis}",
        ),
        "render": (
            grid.images / 1000 * per_kimg * _RENDER_SHARE,
            f"{grid.images:,} images, an image counted as 1/15 of a training image: {basis}",
        ),
        "pack": (pack, "estimate from measurements on 2 cores, 64 … 512 px"),
    }


def _projected(preset: Preset) -> int:
    """Return how many photographs the projector inverts, at most; encoders take no time beside it."""
    if "projector" not in preset.invert.methods:
        return 0
    every, limit = preset.dataset.photographs, preset.invert.limit
    return min(every, limit + preset.invert.compared) if limit else every


def _training_speed(preset: Preset, size: int) -> tuple[float, str]:
    """Return seconds per 1,000 training images at a size, and where the figure is from."""
    if preset.train.config == "narrow":
        seconds = _NARROW_SECONDS_64 * max(size / 64, 0.25) ** 0.585
        return seconds, "estimate for narrow networks in bf16 on 2 CPU cores, 180,000 images an hour at 64 px"
    published = min(_PUBLISHED, key=lambda known: abs(known - size))
    v100, a100 = _PUBLISHED[published]
    scale = (size / published) ** 2
    also = f"; one A100 takes {a100 / v100:.0%} of that" if a100 else ""
    scaled = "" if scale == 1 else f", scaled from {published} px by pixels"
    return v100 * scale, f"estimate from the published speed of StyleGAN2-ADA `auto` on one V100{scaled}{also}"
