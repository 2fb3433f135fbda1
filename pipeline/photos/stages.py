"""The stage "dataset" in its two kinds, for its own commands and for `atlas run`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from atlas.files import remove_partials_of
from atlas.progress import Progress, silent
from atlas.stage import Stage
from pipeline.photos.calibration.street import make_calibration
from pipeline.photos.importing import import_photographs
from pipeline.photos.joining import JoinSettings, acquisition_file

NAME = "dataset"
IMPORT_VERSION = 3
CALIBRATION_VERSION = 1
_BY_CAMERA = JoinSettings()

Work = Callable[[bool], None]


def import_stage(
    photos: Path,
    photos_csv: Path,
    areas: Path,
    imd: Path,
    size: int,
    licence: str,
    attribution: str,
    out: Path,
    record: Path,
    progress: Progress = silent,
    join: JoinSettings = _BY_CAMERA,
    square: str = "crop",
) -> tuple[Stage, Work]:
    """Return the stage that imports photographs into ``out``, and its work (`atlas.stage.run_stage`)."""
    inputs = {"photographs": photos, "table of photographs": photos_csv, "areas": areas, "ranks": imd}
    more = {"list of those to keep": join.keep, "record of the fetch": acquisition_file(photos_csv)}
    stage = Stage(
        name=NAME,
        version=IMPORT_VERSION,
        record=record,
        inputs={**inputs, **{name: path for name, path in more.items() if path is not None}},
        settings={
            "source": "photographs",
            "names": [path.name for path in (photos, photos_csv, areas, imd)],  # they stand in the dataset
            "size": size,
            "licence": licence,
            "attribution": attribution,
            "join": join.record(),
            "square": square,
        },
        outputs={"dataset": out},
    )

    def work(_resume: bool) -> None:
        remove_partials_of(out)
        import_photographs(
            photos,
            photos_csv,
            areas,
            imd,
            size,
            out,
            licence=licence,
            attribution=attribution,
            join=join,
            square=square,
            progress=progress,
        )

    return stage, work


def calibration_stage(
    photographs: int, size: int, seed: int, out: Path, record: Path, progress: Progress = silent
) -> tuple[Stage, Work]:
    """Return the stage that draws the calibration street into ``out``, and its work."""
    stage = Stage(
        name=NAME,
        version=CALIBRATION_VERSION,
        record=record,
        inputs={},
        settings={"source": "calibration", "photographs": photographs, "size": size, "seed": seed},
        outputs={"dataset": out},
    )

    def work(_resume: bool) -> None:
        remove_partials_of(out)
        make_calibration(out, photographs=photographs, size=size, seed=seed, progress=progress)

    return stage, work
