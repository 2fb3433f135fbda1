"""All stages of one atlas, in order, each only if something it rests on has changed."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from atlas.errors import InputError
from atlas.preset import ENCODERS, InvertSettings, Preset, located
from atlas.progress import Progress
from atlas.resources import resource_folder
from atlas.stage import Log, Stage, Work, run_stage
from atlas.stages import pack_stage, site_stage
from pipeline.boundaries import OwnCodes
from pipeline.boundaries.stages import boundaries_stage
from pipeline.gan.stages import train_stage
from pipeline.inversion.comparison import Sources
from pipeline.inversion.encoders.stages import encoder_stage
from pipeline.inversion.stages import InvertSources, compare_stage, invert_stage
from pipeline.photos.joining import join_of
from pipeline.photos.stages import calibration_stage, import_stage
from pipeline.render.stages import RenderSources, render_stage

Bars = Callable[[str], AbstractContextManager[Progress]]


@dataclass(frozen=True)
class RunFolder:
    """Where everything of one run lies: a subfolder per stage, each with its ``stage.json``.

    Attributes:
        root: the run's folder.
        name: of the atlas.
        site_folder: where the site is built, if not among the rest.
        sample: folder of networks that came with the software, where those are used and not the run's own.
    """

    root: Path
    name: str
    site_folder: Path | None = None
    sample: Path | None = None

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
        return (self.sample or self.train) / "generator.safetensors"

    def encoder(self, method: str) -> Path:
        """Return the path of one method's encoder."""
        shipped = self.shipped_encoder(method)
        return shipped or self.root / "encoders" / f"{method}.safetensors"

    def shipped_encoder(self, method: str) -> Path | None:
        """Return the path of the encoder that the sample has for a method, if it has one."""
        path = self.sample / f"{method}.safetensors" if self.sample else None
        return path if path and path.exists() else None

    def latents(self, method: str) -> Path:
        """Return the path of one method's latent codes."""
        return self.root / "latents" / f"{method}.safetensors"

    @property
    def comparison(self) -> Path:
        """Return the path of the comparison of methods."""
        return self.root / "latents" / "comparison.json"

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
class Part:
    """One unit of work of a stage's name: most have one, the encoders and inversions one per method.

    Attributes:
        label: what a progress bar calls it.
        build: gives the stage and its work, given whom to tell of progress.
    """

    label: str
    build: Callable[[Progress], tuple[Stage, Work]]


@dataclass(frozen=True)
class Chain:
    """The stages of one preset, by name, in order."""

    preset: Preset
    folder: RunFolder
    data: Path | None
    device: str
    log: Log

    NAMES = ("dataset", "train", "encoder", "invert", "compare", "boundaries", "render", "pack", "site")

    def parts(self, name: str) -> list[Part]:
        """Return the parts of one stage, in order: none where nothing is to be trained."""
        methods = self.preset.invert.methods
        encoders = [method for method in ENCODERS if method in methods]  # first: the projector may start from theirs
        if name == "train" and self.folder.sample:
            return []
        if name == "encoder":
            trained = [method for method in encoders if not self.folder.shipped_encoder(method)]
            return [Part(f"encoder {method}", partial(self._encoder, method)) for method in trained]
        if name == "invert":
            ordered = [*encoders, *(method for method in methods if method not in ENCODERS)]
            return [Part(f"invert {method}", partial(self._invert, method)) for method in ordered]
        return [Part(name, getattr(self, f"_{name}"))]

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
            square=settings.square,
        )

    def _train(self, progress: Progress) -> tuple[Stage, Work]:
        settings, folder = located(self.preset.train, self.data, "init"), self.folder
        return train_stage(folder.dataset, settings, self.preset.seed, self.device, folder.train, self.log, progress)

    def _encoder(self, method: str, progress: Progress) -> tuple[Stage, Work]:
        folder, out = self.folder, self.folder.encoder(method)
        return encoder_stage(
            method,
            folder.generator,
            folder.dataset,
            located(self.preset.encoder, self.data, "lpips", "moco"),
            self.preset.seed,
            self.device,
            out,
            out.with_name(f"{method}.stage.json"),
            self.log,
            progress,
        )

    def _invert(self, method: str, progress: Progress) -> tuple[Stage, Work]:
        settings, folder = self._invert_settings(), self.folder
        out = folder.latents(method)
        by_encoder = method in ENCODERS
        sources = InvertSources(
            generator=folder.generator,
            dataset=folder.dataset,
            encoder=folder.encoder(method) if by_encoder else None,
            start=folder.latents(settings.start) if settings.start and not by_encoder else None,
        )
        record = out.with_name(f"{method}.stage.json")
        return invert_stage(method, sources, settings, self.preset.seed, self.device, out, record, self.log, progress)

    def _compare(self, progress: Progress) -> tuple[Stage, Work]:
        folder, out, settings = self.folder, self.folder.comparison, self._invert_settings()
        return compare_stage(
            Sources(folder.generator, folder.dataset, self._latents(), settings.lpips),
            OwnCodes.sample,
            settings.compared,
            self.preset.seed,
            self.device,
            out,
            out.with_name("comparison.stage.json"),
            self.log,
            progress,
        )

    def _invert_settings(self) -> InvertSettings:
        """Return the preset's, with the user's files found."""
        settings: InvertSettings = located(self.preset.invert, self.data, "lpips")
        return settings

    def _latents(self) -> tuple[Path, ...]:
        """Return the latents of all methods, in the preset's order."""
        return tuple(self.folder.latents(method) for method in self.preset.invert.methods)

    def _boundaries(self, progress: Progress) -> tuple[Stage, Work]:
        folder = self.folder
        return boundaries_stage(
            self._latents(),
            folder.dataset,
            self.preset.boundaries,
            self.preset.seed,
            folder.boundaries,
            self.log,
            progress,
            generator=folder.generator,
            encoders={method: folder.encoder(method) for method in ENCODERS if method in self.preset.invert.methods},
            comparison=folder.comparison,
            device=self.device,
        )

    def _render(self, progress: Progress) -> tuple[Stage, Work]:
        folder, settings = self.folder, self.preset.render
        sources = RenderSources(
            generator=folder.generator,
            boundaries=folder.boundaries / "boundaries.safetensors",
            latents=folder.latents(settings.method),
            dataset=folder.dataset,
        )
        return render_stage(
            sources,
            settings,
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


def with_sample(folder: RunFolder, preset: Preset, first: str | None, log: Log) -> RunFolder:
    """Let the networks that came with the software stand for training, where the preset names them.

    They no longer do once the run has trained, or begun to train, its own.

    Args:
        folder: of the run.
        preset: whose ``train.sample`` names them.
        first: the stage that is run again with all that follow; "train" and what comes before it train anew.
        log: told of it.

    Raises:
        InputError: there is no such sample.
    """
    anew = first is not None and Chain.NAMES.index(first) <= Chain.NAMES.index("train")
    own = any(folder.train.glob("stage*.json"))
    if not preset.train.sample or anew or own:
        return folder
    samples = {path.parent.name: path.parent for path in sorted(resource_folder("samples").glob("*/*.safetensors"))}
    if preset.train.sample not in samples:
        raise InputError(
            f"preset {preset.name}: train.sample must be one of {', '.join(samples)}, got {preset.train.sample!r}"
        )
    log(f"train: the sample {preset.train.sample} stands for it (--from train trains anew)")
    return replace(folder, sample=samples[preset.train.sample])


def run_chain(chain: Chain, *, first: str | None, last: str | None, bars: Bars) -> list[str]:
    """Run the stages of a preset up to ``last``, each only if needed, and all that read what one has made.

    Args:
        chain: the stages.
        first: run this stage and all that follow again even if they are up to date (``--from``).
        last: stop after this stage (``--until``).
        bars: gives a progress bar by label.

    Returns:
        The names of the stages that ran.

    Raises:
        InputError: a stage's name is unknown, or ``first`` comes after ``last``.
    """
    ran: list[str] = []
    made: set[Path] = set()
    again = False
    for name in _selected(first, last):
        again |= name == first
        for part in chain.parts(name):
            with bars(part.label) as progress:
                stage, work = part.build(progress)
                force = again or not made.isdisjoint(stage.inputs.values())
                if run_stage(stage, work, force=force, log=chain.log):
                    ran.append(stage.name)
                    made.update(stage.outputs.values())
    return ran


def _selected(first: str | None, last: str | None) -> tuple[str, ...]:
    for name in (first, last):
        if name is not None and name not in Chain.NAMES:
            raise InputError(f"there is no stage {name}: the stages are {', '.join(Chain.NAMES)}")
    end = Chain.NAMES.index(last) + 1 if last else len(Chain.NAMES)
    if first and Chain.NAMES.index(first) >= end:
        raise InputError(f"--from {first} comes after --until {last}: nothing would run")
    return Chain.NAMES[:end]
