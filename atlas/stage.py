"""A stage of the chain: what it reads, what it is told, what it writes, and whether it must run again.

Each finished stage leaves a record, ``stage.json``: the SHA-256 of its inputs and outputs, its settings, its
version, the versions of the software, its seed (among the settings) and its seconds. A stage runs when an input, a
setting or its version differs from the record, or an output is missing or changed. While it runs, a marker beside the
record holds the key of the work in hand, so that a killed run goes on with its own unfinished work and never with
that of other settings.
"""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from atlas.errors import InputError
from atlas.faults import fault_point
from atlas.files import content_files, read_json, sha256_bytes, sha256_path, write_json

Log = Callable[[str], None]
Work = Callable[[bool], Mapping[str, Any] | None]
"""Does a stage's work; told whether to go on with what is unfinished. What it returns was measured on the way and may
hang on the clock: it stands in the record, under ``measured``, and nowhere else."""
_SOFTWARE = ("inequality-atlas", "numpy", "pillow", "zarr", "torch", "scikit-learn", "scipy", "shapely")


@dataclass(frozen=True)
class Stage:
    """One stage as it is about to be run.

    Attributes:
        name: as in `atlas run --until NAME`.
        version: the version of the stage's code; raised by hand whenever its output changes for the same input.
        record: path of the record; ``FOLDER/stage.json`` for a stage of a run.
        inputs: files or folders that are read, by name.
        settings: everything else that decides the output, JSON-able, the seed included.
        outputs: files or folders that are written, by name.
        grows: settings that only lengthen the work (more training): when nothing else changed and their value grew,
            the stage goes on from where it was.
        discard: removes unfinished work of other settings, where that would not be told from this stage's own. Called
            before the marker is set, so that a kill in between cannot pass the old for the new.
    """

    name: str
    version: int
    record: Path
    inputs: Mapping[str, Path]
    settings: Mapping[str, Any]
    outputs: Mapping[str, Path]
    grows: tuple[str, ...] = ()
    discard: Callable[[], None] | None = None


def run_stage(stage: Stage, work: Work, *, force: bool = False, keep: bool = False, log: Log = print) -> bool:
    """Run ``work`` unless the stage's record shows that its result is there already.

    Args:
        stage: what the stage reads and writes.
        work: does the work; its argument says whether unfinished work of exactly this stage may be continued
            (True) or whatever lies in the output's place must be started over (False).
        force: run even if up to date.
        keep: refuse to replace what an earlier run of other settings left; without it, it is replaced.
        log: takes one line of news.

    Returns:
        Whether the stage ran.

    Raises:
        InputError: an input is missing, or there is an earlier run to ``keep``.
    """
    for name, path in stage.inputs.items():
        if not path.exists():
            raise InputError(f"the {name} that stage {stage.name} reads is not there: {path}")
    previous = _read_record(stage.record)
    inputs = _fingerprints(stage.inputs, _known_fingerprints(stage.inputs))
    asked = _key(stage, inputs, stage.settings)
    if not force and previous and previous["key"] == asked and _intact(stage.outputs, previous["outputs"]):
        log(f"{stage.name}: up to date")
        return False
    resume = _may_resume(stage, inputs, previous, force)
    marker = _marker(stage.record)
    if not resume:
        if keep:
            _refuse_to_replace(stage, inputs, previous)
        forget(stage)
        if stage.discard:
            stage.discard()
    fault_point(f"{stage.name}.before-marker")
    write_json(marker, _begun(stage, inputs))
    stage.record.unlink(missing_ok=True)
    log(f"{stage.name}: {'going on' if resume else 'running'}")
    start = time.time()
    measured = work(resume)
    fault_point(f"{stage.name}.before-record")
    write_json(stage.record, _record(stage, asked, inputs, time.time() - start, measured or {}))
    marker.unlink(missing_ok=True)
    log(f"{stage.name}: done in {time.time() - start:.1f} s")
    return True


def forget(stage: Stage) -> None:
    """Remove the record of a stage and the marker of unfinished work, so that it will start over."""
    _marker(stage.record).unlink(missing_ok=True)
    stage.record.unlink(missing_ok=True)


def _begun(stage: Stage, inputs: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "lasting": _lasting_key(stage, inputs),
        "grows": {k: stage.settings[k] for k in stage.grows},
        "version": stage.version,
        "settings": dict(stage.settings),
        "inputs": {name: {"sha256": print_["sha256"]} for name, print_ in inputs.items()},
    }


def _refuse_to_replace(stage: Stage, inputs: Mapping[str, Any], previous: dict[str, Any] | None) -> None:
    """Raise InputError if results of an earlier run lie where this stage's would."""
    if not any(path.exists() for path in stage.outputs.values()):
        return
    marker = _marker(stage.record)
    earlier = read_json(marker) if marker.exists() else previous
    raise InputError(
        f"{stage.record.parent} holds an earlier run of {stage.name} ({_changes(stage, inputs, earlier or {})}), which "
        "is kept: give another folder or the earlier settings, or say --start-over to lose it"
    )


def _changes(stage: Stage, inputs: Mapping[str, Any], earlier: Mapping[str, Any]) -> str:
    """Say in what an earlier run differs from this one."""
    if "settings" not in earlier:
        return "its settings are not recorded"
    was, now = earlier["settings"], stage.settings
    usual = "as usual"  # a setting may be left out of the record where it has its default
    changed = [
        f"{k} was {was.get(k, usual)}, now {now.get(k, usual)}" for k in {**was, **now} if was.get(k) != now.get(k)
    ]
    read = earlier.get("inputs", {})
    names = {**read, **inputs}
    changed += [f"another {n}" for n in names if read.get(n, {}).get("sha256") != inputs.get(n, {}).get("sha256")]
    if earlier.get("version") != stage.version:
        changed.append("made by another version of this software")
    return ", ".join(changed) or "begun again before it was done"


def _marker(record: Path) -> Path:
    return record.with_name(record.name.removesuffix(".json") + ".partial.json")


def _read_record(path: Path) -> dict[str, Any] | None:
    return read_json(path) if path.exists() else None


def _key(stage: Stage, inputs: Mapping[str, Any], settings: Mapping[str, Any]) -> str:
    parts = {
        "stage": stage.name,
        "version": stage.version,
        "inputs": {name: print_["sha256"] for name, print_ in inputs.items()},
        "settings": dict(settings),
    }
    return sha256_bytes(json.dumps(parts, sort_keys=True, allow_nan=False).encode())


def _lasting_key(stage: Stage, inputs: Mapping[str, Any]) -> str:
    """Return the key without the settings that only lengthen the work."""
    return _key(stage, inputs, {k: v for k, v in stage.settings.items() if k not in stage.grows})


def _may_resume(stage: Stage, inputs: Mapping[str, Any], previous: dict[str, Any] | None, force: bool) -> bool:
    marker = _marker(stage.record)
    if marker.exists():
        begun = read_json(marker)
    elif previous and stage.grows and not force:
        begun = {"lasting": previous["lasting"], "grows": {k: previous["settings"].get(k) for k in stage.grows}}
    else:
        return False
    if begun["lasting"] != _lasting_key(stage, inputs):
        return False
    return all(begun["grows"].get(k) is not None and begun["grows"][k] <= stage.settings[k] for k in stage.grows)


def _quick(path: Path) -> str:
    """Return what changes when a file or folder was touched, without reading its content."""
    listing = [(f.relative_to(path).as_posix(), f.stat().st_size, f.stat().st_mtime_ns) for f in content_files(path)]
    return sha256_bytes(json.dumps(listing).encode())


def _fingerprints(paths: Mapping[str, Path], known: Mapping[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    prints = {}
    for name, path in paths.items():
        quick = _quick(path)
        earlier = known.get(name)
        if earlier and earlier["quick"] == quick:
            prints[name] = earlier
        else:
            prints[name] = {"file": path.name, "sha256": sha256_path(path), "quick": quick}
    return prints


def _known_fingerprints(paths: Mapping[str, Path]) -> dict[str, dict[str, Any]]:
    """Return the fingerprints that the stage which wrote an input left in the record beside it."""
    known: dict[str, dict[str, Any]] = {}
    for name, path in paths.items():
        record = path.parent / "stage.json"
        if record.exists():
            for print_ in read_json(record).get("outputs", {}).values():
                if print_["file"] == path.name:
                    known[name] = print_
    return known


def _intact(outputs: Mapping[str, Path], recorded: Mapping[str, dict[str, Any]]) -> bool:
    for name, path in outputs.items():
        if name not in recorded or not path.exists():
            return False
        if _quick(path) != recorded[name]["quick"] and sha256_path(path) != recorded[name]["sha256"]:
            return False
    return True


def _record(
    stage: Stage, key: str, inputs: Mapping[str, Any], seconds: float, measured: Mapping[str, Any]
) -> dict[str, Any]:
    return {
        "stage": stage.name,
        "version": stage.version,
        "key": key,
        "lasting": _lasting_key(stage, inputs),
        "settings": dict(stage.settings),
        "inputs": inputs,
        "outputs": _fingerprints(stage.outputs, {}),
        "software": {"python": platform.python_version(), **_versions()},
        "seconds": round(seconds, 3),
        **({"measured": dict(measured)} if measured else {}),
        "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def _versions() -> dict[str, str]:
    versions = {}
    for name in _SOFTWARE:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions
