"""What a launcher (`torch.distributed.run`, `accelerate launch`) told this process; torch loads only where it did."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sinkscope.launch.group import Processes

_TOLD = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


def is_main_process() -> bool:
    """Whether this process is the one of several that speaks; launchers number processes in RANK."""
    return os.environ.get("RANK", "0") == "0"


def process_count() -> int:
    """How many processes were launched together; 1 where this one is alone."""
    return int(os.environ["WORLD_SIZE"]) if all(name in os.environ for name in _TOLD) else 1


@contextmanager
def launched_together() -> "Iterator[Processes | None]":
    """The processes that were launched together; None where this one is alone."""
    if process_count() < 2:
        yield None
        return
    from sinkscope.launch.group import together

    with together() as processes:
        yield processes
