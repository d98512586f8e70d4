"""Running out of memory in a pass, and what can be done about it."""

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
