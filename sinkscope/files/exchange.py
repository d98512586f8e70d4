"""Two names on one disk change places in one step, where the system can do that.

`os.rename` gives a name that is free, or that of a file. A folder with files in it does not give way, and moving it
aside first leaves a moment in which neither the old nor the new one stands. Linux (renameat2) and macOS (renamex_np)
exchange two names at once; Python has no function for either.
"""

import ctypes
import errno
import os
import sys
from collections.abc import Callable
from pathlib import Path

_HERE = -100  # AT_FDCWD: relative names are those of the working folder
_EXCHANGE = 2  # RENAME_EXCHANGE of Linux, RENAME_SWAP of macOS
_CANNOT = {errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP}  # not on this system, or not on this disk
EVENT = "sinkscope.exchange"
"""The name of the event for `sys.addaudithook`, as the functions of `os` have theirs."""


def exchanged(one: Path, other: Path) -> bool:
    """Has two names change places.

    Returns:
        False, and nothing was done, where the system or the disk cannot.

    Raises:
        OSError: for any other reason.
    """
    function = _function()
    if function is None:
        return False
    sys.audit(EVENT, one, other)
    if function(os.fsencode(one), os.fsencode(other)) == 0:
        return True
    code = ctypes.get_errno()
    if code in _CANNOT:
        return False
    raise OSError(code, os.strerror(code), str(one), None, str(other))


def _function() -> Callable[[bytes, bytes], int] | None:
    """The system's call for it; None where it has none."""
    if os.name != "posix":
        return None
    library = ctypes.CDLL(None, use_errno=True)
    if sys.platform.startswith("linux") and hasattr(library, "renameat2"):
        call = library.renameat2
        call.argtypes = [ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint]
        return lambda one, other: int(call(_HERE, one, _HERE, other, _EXCHANGE))
    if sys.platform == "darwin" and hasattr(library, "renamex_np"):
        swap = library.renamex_np
        swap.argtypes = [ctypes.c_char_p, ctypes.c_char_p, ctypes.c_uint]
        return lambda one, other: int(swap(one, other, _EXCHANGE))
    return None
