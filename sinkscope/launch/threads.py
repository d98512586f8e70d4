"""Threads of processes that share one machine's processor: each takes its part of the cores.

torch gives every process a thread per core. Two of them on one machine then have twice as many threads as there are
cores, which wait for each other. Launchers know, and tell each process to take a single thread unless they are told
otherwise, which leaves most of a larger machine idle. Both are put right here; a number that somebody chose stays.
"""

import os
from collections.abc import Mapping

import torch

_CHOSEN = "OMP_NUM_THREADS"
_LAUNCHER = "TORCHELASTIC_RUN_ID"  # torch's launcher, and those that are built on it, set it


def share_cores() -> None:
    """Gives this process its part of the cores, where it is one of several on this machine."""
    threads = threads_of(os.environ, _cores())
    if threads is not None:
        torch.set_num_threads(threads)


def threads_of(environment: Mapping[str, str], cores: int) -> int | None:
    """How many threads a process should take; None for as many as it has.

    Args:
        environment: what a launcher told the process. Its single thread counts as nobody's choice.
        cores: those that the processes of this machine share.
    """
    beside = environment.get("LOCAL_WORLD_SIZE", "1")
    if not beside.isdecimal() or int(beside) < 2:
        return None
    chosen = environment.get(_CHOSEN)
    if chosen is not None and not (chosen == "1" and _LAUNCHER in environment):
        return None
    return max(1, cores // int(beside))


def _cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
