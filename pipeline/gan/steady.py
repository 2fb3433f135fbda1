"""What a process that repeats the same work for hours need not do again and again.

Training takes and frees the same memory in every iteration. By default the C library gives what is freed back to the
system, which then has to clear and map it anew: a tenth of the time. And Python's collector walks, every few
iterations, through hundreds of thousands of objects that importing PyTorch has left, and that stay.
"""

from __future__ import annotations

import ctypes
import gc
from collections.abc import Iterator
from contextlib import contextmanager

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # malloc.h of the GNU C library
_LARGEST_MMAP_THRESHOLD = 32 << 20  # bytes: larger blocks are always the system's
_NEVER = 2**31 - 1


@contextmanager
def steady() -> Iterator[None]:
    """Keep freed memory in the process, and what is there now out of the collector's rounds, within the block.

    No result depends on it. The memory is kept until the process ends; where the C library is not GNU's it is not.
    """
    keep_freed_memory()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def keep_freed_memory() -> bool:
    """Let what this process frees wait for its next use; return whether the C library was willing."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):  # not the GNU C library
        return False
    return bool(mallopt(_MMAP_THRESHOLD, _LARGEST_MMAP_THRESHOLD) and mallopt(_TRIM_THRESHOLD, _NEVER))
