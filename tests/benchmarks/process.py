"""What the benchmarks share: a process's memory as the kernel counts it, the machine's name, and blocks of a page.

Peak memory is the rise of the kernel's high-water mark of resident memory above what the process held before (the
counter behind `ru_maxrss`), reset first through `/proc/self/clear_refs` (Linux): imports do not count, and nor does
what an earlier, larger moment needed. Pages of memory-mapped files count while they are resident, although the kernel
may drop them at any time; the peak of anonymous memory alone, which it cannot, is sampled beside.
"""

import ctypes
import gc
import importlib.metadata
import platform
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

PAGE = Path(__file__).parents[2] / "docs" / "benchmarks.md"
_SAMPLED_SECONDS = 0.01


@dataclass
class Cost:
    """Seconds, peak bytes added, and peak bytes of anonymous memory added (sampled, so it may miss a short peak)."""

    seconds: float = 0.0
    bytes: int = 0
    anonymous: int = 0


@contextmanager
def measured() -> Iterator[Cost]:
    """Measures what the block adds to this process; the cost is filled in when the block ends."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    cost, done = Cost(), threading.Event()
    before, anonymous = status_bytes("VmRSS"), status_bytes("RssAnon")
    Path("/proc/self/clear_refs").write_text("5")

    def sample() -> None:
        while not done.wait(_SAMPLED_SECONDS):
            cost.anonymous = max(cost.anonymous, status_bytes("RssAnon") - anonymous)

    sampler = threading.Thread(target=sample, daemon=True)
    sampler.start()
    start = time.perf_counter()
    try:
        yield cost
    finally:
        cost.seconds = time.perf_counter() - start
        cost.bytes = status_bytes("VmHWM") - before
        done.set()
        sampler.join()


def timed(work: Callable[[], object]) -> dict[str, float]:
    """What a piece of work takes: seconds of the clock and of the processor, and the bytes that it adds at its peak."""
    with measured() as cost:
        processor = time.process_time()
        work()
        processor = time.process_time() - processor
    return {"seconds": cost.seconds, "processor": processor, "bytes": cost.bytes}


def status_bytes(field: str) -> int:
    """A memory figure of this process from the kernel, in bytes."""
    match = re.search(rf"^{field}:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)
    if match is None:
        raise RuntimeError(f"/proc/self/status has no {field}")
    return int(match[1]) * 1024


def processor() -> str:
    """The processor's name."""
    match = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return match[1].strip() if match else platform.machine()


def library_versions() -> str:
    """Versions of the libraries that decide speed."""
    return ", ".join(f"{name} {importlib.metadata.version(name)}" for name in ("torch", "transformers"))


def exponent(points: list[tuple[float, float]]) -> float | None:
    """Least-squares slope of log y against log x; None for fewer than two points."""
    if len(points) < 2:
        return None
    x, y = np.log(np.array(points)).T
    return float(np.polyfit(x, y, 1)[0])


def replace_block(text: str, block: str, name: str) -> str:
    """Puts `block` between the page's markers `<!-- name:begin -->` and `<!-- name:end -->`.

    Raises:
        ValueError: if the markers are not there exactly once.
    """
    begin, end = f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
    result, count = re.subn(f"{begin}.*?{end}", lambda _: f"{begin}\n{block}\n{end}", text, flags=re.DOTALL)
    if count != 1:
        raise ValueError(f"expected one block {begin} ... {end}, found {count}")
    return result


def write_docs(block: str, name: str) -> None:
    """Replaces a block of docs/benchmarks.md."""
    PAGE.write_text(replace_block(PAGE.read_text(encoding="utf-8"), block, name), encoding="utf-8")
