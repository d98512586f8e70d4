"""The memory that passes take: its peak, and one line of advice where it runs out."""

import platform
import resource
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from sinkscope.errors import SinkscopeError


@contextmanager
def explained_memory_errors(batch_size: int) -> Iterator[None]:
    """Turns running out of memory into one line with what to try."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        smaller = "a smaller `batch_size`" if batch_size > 1 else "fewer `tokens`, `dtype=bfloat16` or `quantize=nf4`"
        raise SinkscopeError(f"the device ran out of memory: use {smaller}") from error


def peak_memory(device: torch.device) -> int:
    """Peak memory in bytes: of the CUDA allocator on a GPU, of the process elsewhere."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    unit = 1 if platform.system() == "Darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
