"""Work that repeats itself: freed memory is kept, the collector has less to walk through, and both end."""

import ctypes
import gc
import subprocess
import sys

import pytest

from pipeline.gan.steady import keep_freed_memory, steady

FAULTS = """
import ctypes, resource, sys
from contextlib import nullcontext
from pipeline.gan.steady import steady

libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
libc.free.argtypes, libc.memset.argtypes = [ctypes.c_void_p], [ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t]
with steady() if sys.argv[1] == "steady" else nullcontext():
    for _ in range(20):
        blocks = [libc.malloc(8 << 20) for _ in range(6)]
        for block in blocks:
            libc.memset(block, 1, 8 << 20)
        for block in blocks:
            libc.free(block)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt)
"""
GNU = hasattr(ctypes.CDLL(None), "mallopt")


@pytest.mark.skipif(not GNU, reason="another C library than GNU's")
def test_freed_memory_is_used_again(repository):
    def faults(how):
        command = [sys.executable, "-c", FAULTS, how]
        return int(subprocess.run(command, cwd=repository, check=True, capture_output=True, text=True).stdout)

    assert 4 * faults("steady") < faults("as usual")


def test_another_c_library_is_left_alone(monkeypatch):
    monkeypatch.setattr(ctypes, "CDLL", lambda name: object())
    assert not keep_freed_memory()
    with steady():
        pass


def test_the_collector_gets_everything_back_even_after_an_error():
    with steady():
        assert gc.get_freeze_count() > 0
    assert gc.get_freeze_count() == 0
    with pytest.raises(ValueError, match="wrong"), steady():
        raise ValueError("wrong")
    assert gc.get_freeze_count() == 0
