"""All stages of one atlas, in order, each only if something it rests on has changed."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from atlas.errors import InputError
from atlas.preset import Preset
from atlas.progress import Progress
from atlas.stage import Log, Stage, run_stage
from atlas.stages import pack_stage, site_stage
from pipeline.boundaries.stages import boundaries_stage
from pipeline.gan.stages import train_stage
from pipeline.gan.transfer import located
from pipeline.inversion.stages import invert_stage
from pipeline.photos.joining import join_of
from pipeline.photos.stages import calibration_stage, import_stage
from pipeline.render.stages import RenderSources, render_stage

Work = Callable[[bool], None]
Bars = Callable[[str], AbstractContextManager[Progress]]


@dataclass(frozen=True)
class RunFolder:
    """Where everything of one run lies: a subfolder per stage, each with its ``stage.json``."""

    root: Path
    name: str
    site_folder: Path | None = None

    @property
    def dataset(self) -> Path:
        """Return the dataset's path."""
        return self.root / "dataset" / "dataset.zip"

    @property
    def train(self) -> Path:
        """Return the folder of the trained networks."""
        return self.root / "train"

    @property
    def generator(self) -> Path:
        """Return the generator's path."""
        return self.train / "generator.safetensors"

    def latents(self, method: str) -> Path:
        """Return the path of one method's latent codes."""
        return self.root / "latents" / f"{method}.safetensors"

    @property
    def boundaries(self) -> Path:
        """Return the folder of the boundaries and the report."""
        return self.root / "boundaries"

    @property
    def archive(self) -> Path:
        """Return the archive's path."""
        return self.root / "archive" / f"{self.name}.zarr"

    @property
    def packs(self) -> Path:
        """Return the folder of the packs."""
        return self.root / "packs"

    @property
    def site(self) -> Path:
        """Return the folder of the built site."""
        return self.site_folder or self.root / "site"


@dataclass(frozen=True)
class Chain:
    """The stages of one preset, by name, in order."""

    preset: Preset
    folder: RunFolder
    data: Path | None
    device: str
    log: Log

    NAMES = ("dataset", "train", "invert", "boundaries", "render", "pack", "site")

    def stage(self, name: str, progress: Progress) -> tuple[Stage, Work]:
        """Return one stage and the function that does its work."""
        build: Callable[[Progress], tuple[Stage, Work]] = getattr(self, f"_{name}")
        return build(progress)

    def _dataset(self, progress: Progress) -> tuple[Stage, Work]:
        settings, out = self.preset.dataset, self.folder.dataset
        record = out.with_name("stage.json")
        if settings.source == "calibration":
            return calibration_stage(
                settings.photographs, settings.size, self.preset.seed, out=out, record=record, progress=progress
            )
        if self.data is None:
            raise InputError(f"preset {self.preset.name} reads photographs: say where they are with --data DIR")
        return import_stage(
            self.data / settings.photos,
            self.data / settings.photos_csv,
            self.data / settings.areas,
            self.data / settings.imd,
            settings.size,
            licence=settings.licence,
            attribution=settings.attribution,
            out=out,
            record=record,
            progress=progress,
            join=join_of(settings, self.data),
        )

    def _train(self, progress: Progress) -> tuple[Stage, Work]:
        settings, folder = located(self.preset.train, self.data), self.folder
        return train_stage(folder.dataset, settings, self.preset.seed, self.device, folder.train, self.log, progress)

    def _invert(self, progress: Progress) -> tuple[Stage, Work]:
        settings, folder = self.preset.invert, self.folder
        out = folder.latents(settings.method)
        return invert_stage(
            folder.generator,
            folder.dataset,
            settings,
            self.preset.seed,
            self.device,
            out,
            out.with_name("stage.json"),
            self.log,
            progress,
        )

    def _boundaries(self, progress: Progress) -> tuple[Stage, Work]:
        folder = self.folder
        latents = folder.latents(self.preset.invert.method)
        return boundaries_stage(
            latents, folder.dataset, self.preset.boundaries, self.preset.seed, folder.boundaries, self.log, progress
        )

    def _render(self, progress: Progress) -> tuple[Stage, Work]:
        folder = self.folder
        sources = RenderSources(
            generator=folder.generator,
            boundaries=folder.boundaries / "boundaries.safetensors",
            latents=folder.latents(self.preset.invert.method),
            dataset=folder.dataset,
        )
        return render_stage(
            sources,
            self.preset.render,
            self.preset.invert.method,
            self.preset.title,
            self.preset.seed,
            self.device,
            folder.archive,
            folder.archive.with_name("stage.json"),
            progress,
        )

    def _pack(self, progress: Progress) -> tuple[Stage, Work]:
        folder = self.folder
        return pack_stage(folder.archive, self.preset.pack, folder.packs, folder.packs / "stage.json", progress)

    def _site(self, progress: Progress) -> tuple[Stage, Work]:
        folder = self.folder
        report = folder.boundaries / "report.json"
        return site_stage(folder.packs, report, self.preset.site, folder.site, folder.site / "stage.json", progress)


def run_chain(chain: Chain, *, first: str | None, last: str | None, bars: Bars) -> list[str]:
    """Run the stages of a preset up to ``last``, each only if needed, and all that follow one that ran.

    Args:
        chain: the stages.
        first: run this stage again even if it is up to date (``--from``).
        last: stop after this stage (``--until``).
        bars: gives a progress bar by label.

    Returns:
        The names of the stages that ran.

    Raises:
        InputError: a stage's name is unknown, or ``first`` comes after ``last``.
    """
    names = _selected(first, last)
    ran: list[str] = []
    for name in names:
        with bars(name) as progress:
            stage, work = chain.stage(name, progress)
            if run_stage(stage, work, force=bool(ran) or name == first, log=chain.log):
                ran.append(name)
    return ran


def _selected(first: str | None, last: str | None) -> tuple[str, ...]:
    for name in (first, last):
        if name is not None and name not in Chain.NAMES:
            raise InputError(f"there is no stage {name}: the stages are {', '.join(Chain.NAMES)}")
    end = Chain.NAMES.index(last) + 1 if last else len(Chain.NAMES)
    if first and Chain.NAMES.index(first) >= end:
        raise InputError(f"--from {first} comes after --until {last}: nothing would run")
    return Chain.NAMES[:end]
