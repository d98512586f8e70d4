"""Giving freed memory back to the operating system."""

import ctypes
import os


def give_back() -> None:
    """Returns freed memory to the operating system.

    glibc keeps what was freed between the few small tensors that outlive a layer, and asks for more all the same:
    without this, memory grows from layer to layer. Other C libraries have no such call and do nothing here.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if os.name == "posix" else None
    if trim is not None:
        trim(0)
