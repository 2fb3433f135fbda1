"""Named points at which a test may kill the process, to prove that a killed run resumes to the same bytes.

``ATLAS_FAULT=render.shard:3 atlas run …`` ends the process with SIGKILL, as a power cut would, when the point
``render.shard`` is passed for the third time. Without the variable a point costs one dictionary look-up.
"""

from __future__ import annotations

import os
import signal

_passed: dict[str, int] = {}


def fault_point(name: str) -> None:
    """Kill this process if ``ATLAS_FAULT`` asks for it at this passing of ``name``."""
    wanted = os.environ.get("ATLAS_FAULT")
    if not wanted:
        return
    point, _, count = wanted.partition(":")
    if point != name:
        return
    _passed[name] = _passed.get(name, 0) + 1
    if _passed[name] == int(count or 1):
        os.kill(os.getpid(), signal.SIGKILL)
