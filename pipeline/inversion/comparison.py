"""One harness for all methods of inversion: the same photographs, rendered and measured in the same way.

Methods are compared on photographs of blocks that no encoder is trained on (`selection.held_out`). The generator has
seen them: what is compared is how well a code is found, not how well streets are known.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from atlas.errors import InputError
from atlas.files import sha256_path
from atlas.progress import Progress, silent
from pipeline.features import FeatureFunction
from pipeline.gan import Generator
from pipeline.gan.samples import to_uint8
from pipeline.inversion.batches import to_images
from pipeline.inversion.comparison_sheet import Picture, comparison_sheet
from pipeline.inversion.latents import (
    Latents,
    dataset_fingerprint,
    read_latents,
    require_codes_for,
    require_made_from,
    rows_of,
)
from pipeline.inversion.measures import measure_images, psnr, require_images_of
from pipeline.inversion.projection import w_statistics
from pipeline.inversion.schedule import W_SAMPLES
from pipeline.inversion.selection import choose_compared, held_out
from pipeline.lpips import Perceptual
from pipeline.photos.calibration.measuring import measure as measure_attributes
from pipeline.photos.dataset import Dataset, open_dataset

BASELINE = "w_avg"
PHOTOGRAPH = "photograph"
_BATCH = 32
_SHOWN = 8


class OwnCodes(Protocol):
    """Codes that the generator itself makes: the yardstick of how far from them a method's codes lie."""

    @property
    def distances(self) -> np.ndarray:
        """Return how far each sample lies from their mean, ascending."""

    def farthest(self, w: np.ndarray) -> np.ndarray:
        """Return how far codes [M, num_ws, w_dim] lie from that mean, the worst layer of each: [M]."""

    def typicality(self, w: np.ndarray) -> np.ndarray:
        """Return the share of samples that lie farther out than each code: [M], 1 usual … 0 never seen."""


CodesOf = Callable[[Generator, int], OwnCodes]


@dataclass(frozen=True)
class Sources:
    """The files of a comparison.

    Attributes:
        generator, dataset: as photographs were inverted with them.
        latents: ``METHOD.safetensors`` of each method.
        lpips: folder of the user's LPIPS files; "" where EfficientNet-Lite0 stands for it.
    """

    generator: Path
    dataset: Path
    latents: tuple[Path, ...]
    lpips: str = ""


@dataclass(frozen=True, eq=False)
class Comparison:
    """What was measured on each of n photographs.

    Attributes:
        files: the photographs.
        blocks: the block of each.
        held_out: whether no encoder is trained on them. False only if the dataset has no held-out photograph that all
            methods inverted: then all that they did invert are compared.
        values: by method, `BASELINE` last, and measure, [n] each: "l2", "perceptual", "ssim", "psnr"; "distance", in
            standard deviations of the generator's own codes; "typicality"; "layer_spread", how far a code's layers
            lie from their mean, in standard deviations of w.
        attributes: by image (`PHOTOGRAPH`, or a method) and planted attribute, as measured in it, [n] each; empty
            unless the dataset is the calibration street.
        own_distances: of the generator's own codes: median and 95th percentile.
        perceptual: what the perceptual distance is called.
        sheet: the comparison sheet, a PNG.
        facts: JSON-able; what it all rests on.
    """

    files: tuple[str, ...]
    blocks: tuple[str, ...]
    held_out: bool
    values: dict[str, dict[str, np.ndarray]]
    attributes: dict[str, dict[str, np.ndarray]]
    own_distances: tuple[float, float]
    perceptual: str
    sheet: bytes
    facts: dict[str, object]


def compare(
    sources: Sources,
    generator: Generator,
    own: OwnCodes,
    perceptual: Perceptual,
    most: int,
    seed: int,
    progress: Progress = silent,
) -> Comparison:
    """Measure each method's reconstructions of the same photographs.

    Args:
        sources: generator (as loaded), dataset, latents.
        generator: in eval mode.
        own: its own codes.
        perceptual: the perceptual distance.
        most: at most so many photographs.
        seed: of their choice.
        progress: told of photographs.

    Raises:
        InputError: no photograph was inverted by all methods, two files are of one method, or codes were made with
            another generator or dataset.
    """
    dataset = open_dataset(sources.dataset)
    require_images_of(generator, 3, dataset.size, dataset.size)
    found = _read(sources, generator, dataset)
    indices, unseen = _photographs(dataset, found, most, seed)
    files = [dataset.files[i] for i in indices]
    codes = {method: latents.w[rows_of(latents, files, path)] for method, (path, latents) in found.items()}
    statistics = w_statistics(generator, W_SAMPLES)
    mean = statistics.mean.cpu().numpy()
    codes[BASELINE] = np.broadcast_to(mean, (len(files), generator.num_ws, len(mean)))
    ruler = _Ruler(generator, perceptual.features, attributes="planted" in dataset.meta, shown=_shown(len(files)))
    for start in range(0, len(files), _BATCH):
        part = slice(start, start + _BATCH)
        ruler.look(dataset, indices[part], {method: w[part] for method, w in codes.items()})
        progress(min(start + _BATCH, len(files)), len(files))
    for method, w in codes.items():
        ruler.values[method] |= _editability(w, own, statistics.std)
    return Comparison(
        files=tuple(files),
        blocks=tuple(dataset.photos[i].group for i in indices),
        held_out=unseen,
        values=ruler.values,
        attributes=ruler.attributes,
        own_distances=(float(np.median(own.distances)), float(np.percentile(own.distances, 95))),
        perceptual=perceptual.name,
        sheet=comparison_sheet(ruler.pictures),
        facts={
            "generator_sha256": sha256_path(sources.generator),
            "dataset_sha256": sha256_path(sources.dataset),
            "held_out_in_dataset": int(held_out(dataset.photos).sum()),
            "photographs_in_dataset": len(dataset),
            "inverted": {method: len(latents) for method, (_, latents) in found.items()},
        },
    )


def _read(sources: Sources, generator: Generator, dataset: Dataset) -> dict[str, tuple[Path, Latents]]:
    """Return path and codes by method, in the order given."""
    found: dict[str, tuple[Path, Latents]] = {}
    made_from = {
        "photographs_sha256": dataset_fingerprint(dataset.photos),
        "generator_sha256": sha256_path(sources.generator),
    }
    for path in sources.latents:
        latents = read_latents(path)
        require_made_from(latents, path, **made_from)
        require_codes_for(latents, path, generator.num_ws, generator.w_dim)
        method = str(latents.metadata.get("method", path.stem))
        if method in found or method in (BASELINE, PHOTOGRAPH):
            raise InputError(f"{path} holds the codes of {method}, which are there already: give each method once")
        found[method] = (path, latents)
    return found


def _photographs(
    dataset: Dataset, found: Mapping[str, tuple[Path, Latents]], most: int, seed: int
) -> tuple[np.ndarray, bool]:
    """Return which photographs are compared, and whether they are held out from the encoders' training."""
    common = set(dataset.files).intersection(*(latents.files for _, latents in found.values()))
    if not common:
        raise InputError(f"no photograph of {dataset.path} was inverted by all of {', '.join(found)}: invert the same")
    inverted = np.array([file in common for file in dataset.files])
    unseen = choose_compared(dataset.photos, most, seed, among=inverted)
    if len(unseen):
        return unseen, True
    return np.flatnonzero(inverted)[:most], False


def _editability(w: np.ndarray, own: OwnCodes, std: float) -> dict[str, np.ndarray]:
    """Return how far codes [n, num_ws, w_dim] are from those that the generator makes itself, where edits work best."""
    apart = np.linalg.norm((w - w.mean(1, keepdims=True)).astype(np.float64), axis=2).mean(1)
    return {"distance": own.farthest(w), "typicality": own.typicality(w), "layer_spread": apart / std}


def _shown(count: int) -> np.ndarray:
    """Return which photographs the sheet shows: a few, evenly spread."""
    return np.unique(np.linspace(0, count - 1, min(_SHOWN, count)).round().astype(int))


class _Ruler:
    """Measures batch after batch."""

    def __init__(self, generator: Generator, features: FeatureFunction, *, attributes: bool, shown: np.ndarray) -> None:
        self.values: dict[str, dict[str, np.ndarray]] = {}
        self.attributes: dict[str, dict[str, np.ndarray]] = {}
        self.pictures: list[Picture] = []
        self._generator, self._features, self._with_attributes, self._shown = generator, features, attributes, shown
        self._device = next(generator.synthesis.parameters()).device
        self._seen = 0

    def look(self, dataset: Dataset, indices: Sequence[int] | np.ndarray, codes: Mapping[str, np.ndarray]) -> None:
        """Render the codes of some photographs and measure them."""
        images = to_images(dataset, indices, self._device)
        photographs = dataset.images(indices)
        rendered = {}
        self._measure_attributes(PHOTOGRAPH, photographs)
        for method, w in codes.items():
            x = self._render(w)
            measured = measure_images(self._features, x, images)
            _append(self.values, method, measured | {"psnr": psnr(measured["l2"])})
            rendered[method] = to_uint8(x)
            self._measure_attributes(method, rendered[method])
        for row in self._shown[(self._shown >= self._seen) & (self._shown < self._seen + len(photographs))]:
            at = int(row) - self._seen
            shown = {method: pixels[at] for method, pixels in rendered.items() if method != BASELINE}
            self.pictures.append(Picture(photographs[at], shown))
        self._seen += len(photographs)

    @torch.no_grad()
    def _render(self, w: np.ndarray) -> Tensor:
        codes = torch.from_numpy(np.ascontiguousarray(w, np.float32)).to(self._device)
        return self._generator.synthesis(codes, noise_mode="const")

    def _measure_attributes(self, image: str, pixels: np.ndarray) -> None:
        if self._with_attributes:
            _append(self.attributes, image, measure_attributes(pixels))


def _append(table: dict[str, dict[str, np.ndarray]], row: str, values: Mapping[str, np.ndarray]) -> None:
    before = table.setdefault(row, {})
    for name, value in values.items():
        before[name] = np.concatenate([before[name], value]) if name in before else value
