"""The same function over many items, on every core, in order and with bounded memory."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from itertools import islice
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

CHUNK = 8
_FEW = 4 * CHUNK  # fewer items than this are done before a process has started


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def ordered_map(
    function: Callable[[Item], Result], items: Iterable[Item], workers: int | None = None
) -> Iterator[Result]:
    """Yield ``function(item)`` for each item, in order.

    Only a few chunks per worker are in the air at any time, so that memory does not grow with the number of items,
    even where the results are taken more slowly than they come.

    Args:
        function: importable by name (or a `functools.partial` of one); it and its results must pickle.
        items: are read as they are needed.
        workers: processes; 1 does the work in this one; None takes one for each core, and none for a handful of items.
    """
    stream = iter(items)
    first = list(islice(stream, _FEW)) if workers is None else []
    count = cores() if workers is None else workers
    if count == 1 or (first and len(first) < _FEW):
        yield from map(function, first)
        yield from map(function, stream)
        return
    with ProcessPoolExecutor(count, initializer=_end_with_parent) as pool:
        waiting: deque[Future[list[Result]]] = deque()
        try:
            for chunk in _chunks(first, stream):
                waiting.append(pool.submit(_each, function, chunk))
                if len(waiting) >= 4 * count:
                    yield from waiting.popleft().result()
            while waiting:
                yield from waiting.popleft().result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _chunks(first: list[Item], rest: Iterator[Item]) -> Iterator[list[Item]]:
    for start in range(0, len(first), CHUNK):
        yield first[start : start + CHUNK]
    while chunk := list(islice(rest, CHUNK)):
        yield chunk


def _each(function: Callable[[Item], Result], chunk: list[Item]) -> list[Result]:
    return [function(item) for item in chunk]


def _end_with_parent() -> None:
    """End this worker when its parent is killed: it would wait for work for ever. Ctrl-C is the parent's to answer."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_watch_parent, daemon=True).start()


def _watch_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
