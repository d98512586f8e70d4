"""What the C library does with memory that was freed.

A forward and a backward pass free almost everything they took, and the next pass takes it again. On the way glibc gives
the free memory at the end of its heap back to the operating system, whose new pages then cost more than much of what is
computed in them. A process that does nothing but pass after pass is better off keeping what it has: its peak is the
same. Other C libraries have no such calls, and nothing happens there.
"""

import ctypes
import os
from typing import Any

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # numbers of mallopt(3)
_KEPT, _LARGE = 2**31 - 1, 2**25  # bytes; glibc's own mmap threshold grows to the second
_CHOSEN = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES")


def keep() -> None:
    """Keeps what is freed from here on for the next to ask, unless the user's environment settles the matter.

    Blocks of 32 MiB and more are given back all the same. This is for a process that is sinkscope's own.
    """
    mallopt = None if any(name in os.environ for name in _CHOSEN) else _call("mallopt")
    if mallopt is not None:
        mallopt(_TRIM_THRESHOLD, _KEPT)
        mallopt(_MMAP_THRESHOLD, _LARGE)


def give_back() -> None:
    """Returns what is free to the operating system.

    glibc keeps what was freed between the few small tensors that outlive a layer, and asks for more all the same:
    without this, memory grows from layer to layer of a streamed model, and what is kept looks taken to whoever asks
    how much there is.
    """
    trim = _call("malloc_trim")
    if trim is not None:
        trim(0)


def _call(name: str) -> Any:
    """A function of the C library; None where it has no such."""
    return getattr(ctypes.CDLL(None), name, None) if os.name == "posix" else None
