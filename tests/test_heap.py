"""A process of sinkscope's own keeps freed memory for its next pass, and can still give it back."""

import json
import os
import platform
import subprocess
import sys

import pytest

glibc = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")

SCRIPT = """
import ctypes, json, resource
from sinkscope import heap

c = ctypes.CDLL(None)
c.malloc.restype, c.malloc.argtypes, c.free.argtypes = ctypes.c_void_p, [ctypes.c_size_t], [ctypes.c_void_p]

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize()

def passes():
    for _ in range(4):
        blocks = [c.malloc(2**20) for _ in range(64)]
        for block in blocks:
            ctypes.memset(block, 1, 2**20)
        for block in blocks:
            c.free(block)

if {keeps}:
    heap.keep()
passes()
before = faults()
passes()
made, held = faults() - before, resident()
heap.give_back()
print(json.dumps({{"faults": made, "held": held, "left": resident()}}))
"""


def _measured(*, keeps: bool, **environment: str) -> dict[str, int]:
    ran = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(keeps=keeps)], capture_output=True, text=True, check=True,
        env={**{name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}, **environment},
    )  # fmt: skip
    measured: dict[str, int] = json.loads(ran.stdout)
    return measured


@glibc
def test_what_was_freed_is_used_again() -> None:
    kept, usual = _measured(keeps=True), _measured(keeps=False)
    assert kept["faults"] < usual["faults"] / 10
    assert usual["faults"] > 1000
    assert kept["held"] - kept["left"] > 32 * 2**20  # and goes back when somebody asks for it


@glibc
def test_what_a_user_chose_stays() -> None:
    chosen = _measured(keeps=True, MALLOC_TRIM_THRESHOLD_="131072")
    assert chosen["faults"] > 1000


def test_another_c_library_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    from sinkscope import heap

    monkeypatch.setattr(heap, "_call", lambda _name: None)
    heap.keep()
    heap.give_back()
