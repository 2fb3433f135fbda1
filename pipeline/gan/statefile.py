"""The state of a training as one file: tensors and facts by name, written whole or not at all, for a run to go on from.

It is taken over by the same run only, and only if every tensor is there, of its shape and type.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from atlas.errors import AtlasError, InputError
from atlas.faults import fault_point
from atlas.files import atomic_path
from pipeline.gan.formats import read_safetensors


class DivergedError(AtlasError):
    """Training has left the range of numbers."""


@dataclass(frozen=True)
class StateFile:
    """One kind of state files.

    Attributes:
        key: of the metadata: one only, since the order of several is not kept by safetensors.
        version: of the kind, the fact "format".
        facts: names of the other facts.
        name: what such a file is called in messages.
        place: what to train into instead of where another run's state lies: another folder, or file.
        fault: the point at which a test may kill the writer.
    """

    key: str
    version: int
    facts: tuple[str, ...]
    name: str
    place: str
    fault: str

    def write(self, path: Path, facts: Mapping[str, Any], tensors: Iterable[tuple[str, Tensor]]) -> None:
        """Write facts, JSON-able, and tensors."""
        found = {name: t.detach().cpu().contiguous().clone() for name, t in tensors}
        table = json.dumps({"format": self.version, **facts}, sort_keys=True)
        with atomic_path(path) as temporary:
            save_file(found, temporary, metadata={self.key: table})
            fault_point(self.fault)

    def read(self, path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """Return facts and tensors.

        Raises:
            InputError: the file is damaged, or of another kind or version.
        """
        tensors, metadata = read_safetensors(path)
        try:
            facts: dict[str, Any] = json.loads(metadata[self.key])
            if facts["format"] != self.version:
                raise InputError(
                    f"{path} has format {facts['format']}; this version goes on from format {self.version} only"
                )
            for name in self.facts:
                facts[name]
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"{path} is no {self.name}: its metadata are missing or damaged ({error!r})") from error
        return facts, tensors

    def check_same_run(self, path: Path, mine: Mapping[str, Any], theirs: Mapping[str, Any]) -> None:
        """Refuse to go on from the state of another run.

        Args:
            path: of the state, for the message.
            mine, theirs: what this run and the state's are of, by name.

        Raises:
            InputError: they differ.
        """
        names = {**mine, **theirs}
        changed = [f"{k} {theirs.get(k)} became {mine.get(k)}" for k in names if theirs.get(k) != mine.get(k)]
        if changed:
            raise InputError(
                f"{path} is the state of another run ({', '.join(changed)}): train into another {self.place} or start "
                "over"
            )


@torch.no_grad()
def take_over(path: Path, own: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> None:
    """Copy the tensors that were found in a state into a run's own of the same names.

    Raises:
        InputError: some are missing, unknown, or of another shape or type; nothing was copied.
    """
    wrong = set(own) ^ set(found)
    wrong |= {n for n, t in own.items() if n in found and (found[n].shape, found[n].dtype) != (t.shape, t.dtype)}
    if wrong:
        raise InputError(
            f"{path} is damaged: tensors {', '.join(sorted(wrong))} are missing, unknown, or of another shape or type"
        )
    for name, tensor in own.items():
        tensor.copy_(found[name])
