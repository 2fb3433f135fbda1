"""The statistics of a run for TensorBoard, made from ``stats.jsonl``.

The event file has a fixed name and no clock in it: like everything of a run but ``stage.json`` it can be compared byte
for byte. TensorBoard's axis "step" is the number of images shown; its wall times mean nothing.
"""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

from atlas.errors import InputError
from atlas.files import write_bytes

EVENTS = "tensorboard/events.out.tfevents.0.train"


class Board:
    """The event file of one run, or nothing where TensorBoard is not installed.

    Attributes:
        path: of the file.
        present: whether TensorBoard is installed.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / EVENTS
        self.present = importlib.util.find_spec("tensorboard") is not None

    def begin(self, stats: Path) -> None:
        """Write the file anew from the lines that there are.

        Raises:
            InputError: a line is not as training writes it.
        """
        if not self.present:
            return
        try:
            lines = [json.loads(line) for line in stats.read_bytes().splitlines()]
            data = b"".join(_record(_event(line)) for line in lines)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise InputError(f"{stats} has a line that training did not write: remove it") from error
        write_bytes(self.path, _record(_opening()) + data)

    def add(self, line: dict[str, Any]) -> None:
        """Append one line of statistics."""
        if self.present:
            with self.path.open("ab") as stream:
                stream.write(_record(_event(line)))


def _opening() -> bytes:
    from tensorboard.compat.proto.event_pb2 import Event

    return bytes(Event(file_version="brain.Event:2").SerializeToString(deterministic=True))


def _event(line: dict[str, Any]) -> bytes:
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary

    values = [Summary.Value(tag=f"train/{name}", simple_value=v) for name, v in line.items() if name != "kimg"]
    event = Event(step=round(line["kimg"] * 1000), summary=Summary(value=values))
    return bytes(event.SerializeToString(deterministic=True))


def _record(data: bytes) -> bytes:
    """Frame an event as TensorBoard's files do: length and content, each with a checksum."""
    import io

    from tensorboard.summary.writer.record_writer import RecordWriter

    buffer = io.BytesIO()
    RecordWriter(buffer).write(data)
    return buffer.getvalue()
