"""The last two stages of the chain, as `atlas run` and the commands of their own run them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

from atlas import layout, packs, site
from atlas.files import sha256_path
from atlas.manifest import FOLDER, PACKS_MANIFEST
from atlas.preset import PackSettings, SiteSettings
from atlas.progress import Progress, silent
from atlas.resources import resource_folder
from atlas.stage import Stage

Work = Callable[[bool], None]


def pack_stage(
    archive: Path, settings: PackSettings, folder: Path, record: Path, progress: Progress = silent
) -> tuple[Stage, Work]:
    """Return the stage that packs an archive into ``folder``, and its work."""
    stage = Stage(
        name="pack",
        version=packs.VERSION,
        record=record,
        inputs={"archive": archive},
        settings={
            **dataclasses.asdict(settings),
            "pack_bytes": list(layout.PACK_BYTES),
            "thumb_quality": layout.THUMB_QUALITY,
        },
        outputs={"manifest": folder / PACKS_MANIFEST, "packs": folder / FOLDER},
    )

    def work(resume: bool) -> None:
        packs.build_packs(archive, folder, settings, resume=resume, progress=progress)

    return stage, work


def site_stage(
    packs_folder: Path,
    report: Path | None,
    settings: SiteSettings,
    folder: Path,
    record: Path,
    progress: Progress = silent,
) -> tuple[Stage, Work]:
    """Return the stage that builds the site in ``folder``, and its work.

    Of the packs only the manifest is an input: it holds the SHA-256 of every one, and each is compared as it is put
    in place. The templates are a setting, so that a changed page is built again.
    """
    inputs = {"packs": packs_folder / PACKS_MANIFEST}
    if report:
        inputs["report"] = report
    stage = Stage(
        name="site",
        version=site.VERSION,
        record=record,
        inputs=inputs,
        settings={**dataclasses.asdict(settings), "templates": sha256_path(resource_folder("templates"))},
        outputs={"site": folder},
    )

    def work(resume: bool) -> None:
        # What is there is compared byte for byte, so unfinished work needs no special care.
        site.build_site(packs_folder, folder, report=report, settings=settings, progress=progress)

    return stage, work
