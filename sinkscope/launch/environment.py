"""What a launcher (`torch.distributed.run`, `accelerate launch`) told this process; torch loads only where it did."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from sinkscope.errors import RequestError

if TYPE_CHECKING:
    from sinkscope.launch.group import Processes

_TOLD = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
_LOCAL = "LOCAL_RANK"
_READ_BY_ACCELERATE = ("ACCELERATE_", "FSDP_", "OMPI_", "PMI_", "MV2_", "LOCAL_", "MPI_")


def is_main_process() -> bool:
    """Whether this process is the one of several that speaks; launchers number processes in RANK.

    A RANK that was left in the environment without the rest of what launchers tell means nothing.
    """
    return not _launched() or os.environ["RANK"] == "0" or not os.environ["RANK"].isdecimal()


def process_count() -> int:
    """How many processes were launched together; 1 where this one is alone.

    Raises:
        RequestError: if what a launcher told makes no sense.
    """
    if not _launched():
        return 1
    rank, count = os.environ["RANK"], os.environ["WORLD_SIZE"]
    if not (rank.isdecimal() and count.isdecimal() and int(rank) < int(count)):
        raise RequestError(
            f"the environment says that this is process RANK='{rank}' of WORLD_SIZE='{count}': unset both, or use a "
            "launcher"
        )
    local = os.environ.get(_LOCAL, rank)
    if not local.isdecimal():
        raise RequestError(f"the environment says that this is process LOCAL_RANK='{local}' of its machine: unset it")
    return int(count)


def _launched() -> bool:
    return all(name in os.environ for name in _TOLD)


@contextmanager
def without_a_stray_rank() -> Iterator[None]:
    """Hides a LOCAL_RANK that no launcher told, from which accelerate would conclude that there are other processes."""
    stray = None if _launched() else os.environ.pop(_LOCAL, None)
    try:
        yield
    finally:
        if stray is not None:
            os.environ[_LOCAL] = stray


def told_by_others() -> str:
    """What the environment holds for accelerate, in words; empty where it is nothing."""
    found = sorted(name for name in os.environ if name in _TOLD or name.startswith(_READ_BY_ACCELERATE))
    return ", ".join(f"{name}='{os.environ[name]}'" for name in found)


@contextmanager
def launched_together() -> "Iterator[Processes | None]":
    """The processes that were launched together; None where this one is alone."""
    if process_count() < 2:
        yield None
        return
    from sinkscope.launch.group import together

    with together() as processes:
        yield processes
