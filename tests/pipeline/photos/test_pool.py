"""Work on every core: in order, bounded, like the plain way, and gone when its parent is."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipeline.photos.pool import CHUNK, ordered_map


def doubled(x):
    return 2 * x


def slow_at_first(x):
    time.sleep(0.05 if x == 0 else 0)
    return x


def process_id(_):
    return os.getpid()


def fail_at_50(x):
    if x == 50:
        raise ValueError("fifty")
    return x


@pytest.mark.parametrize("count", [0, 1, CHUNK, 4 * CHUNK - 1, 4 * CHUNK, 100])
@pytest.mark.parametrize("workers", [None, 1, 2])
def test_same_as_plain_and_in_order(count, workers):
    assert list(ordered_map(doubled, range(count), workers)) == [2 * x for x in range(count)]


def test_order_is_kept_where_the_first_is_last():
    assert list(ordered_map(slow_at_first, range(64), 2)) == list(range(64))


def test_more_than_one_process_works():
    assert os.getpid() not in set(ordered_map(process_id, range(64), 2))
    assert set(ordered_map(process_id, range(8))) == {os.getpid()}


def test_items_are_read_only_as_they_are_needed():
    read = 0

    def items():
        nonlocal read
        for x in range(10_000):
            read += 1
            yield x

    results = ordered_map(doubled, items(), 2)
    assert [next(results) for _ in range(3)] == [0, 2, 4]
    assert read <= 8 * CHUNK
    results.close()
    assert read <= 8 * CHUNK


def test_an_error_in_a_worker_is_raised_here():
    with pytest.raises(ValueError, match="fifty"):
        list(ordered_map(fail_at_50, range(100), 2))


PARENT = """
import time
from pipeline.photos.pool import ordered_map
results = ordered_map(time.sleep, [0.01] * 10_000, 2)
next(results)
import multiprocessing
print(*[child.pid for child in multiprocessing.active_children()], flush=True)
for _ in results: pass
"""


@pytest.mark.skipif(not Path("/proc").exists(), reason="looks at /proc")
def test_workers_end_when_their_parent_is_killed():
    with subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True) as parent:
        children = [int(pid) for pid in parent.stdout.readline().split()]
        assert len(children) == 2
        parent.send_signal(signal.SIGKILL)
        parent.wait()
        deadline = time.monotonic() + 10
        while any(alive(pid) for pid in children) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not [pid for pid in children if alive(pid)]


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
