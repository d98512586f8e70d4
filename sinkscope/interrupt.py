"""Ctrl-C that cannot get lost.

Python drops an exception that is raised inside a finalizer, and an interrupt that strikes there is dropped with it: the
program goes on as if nobody had pressed a key. Importing the large libraries runs thousands of finalizers, so this does
happen. The hook for such dropped exceptions is used to deliver the interrupt once more, a moment later.
"""

import _thread
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_MOMENT = 0.01  # seconds, for the finalizer to end


@contextmanager
def insistent_interrupts() -> Iterator[None]:
    """While entered, a KeyboardInterrupt that was dropped is raised again in the main thread."""
    previous = sys.unraisablehook

    def hook(dropped: Any) -> None:
        if dropped.exc_type is KeyboardInterrupt:
            threading.Timer(_MOMENT, _thread.interrupt_main).start()
        else:
            previous(dropped)

    sys.unraisablehook = hook
    try:
        yield
    finally:
        sys.unraisablehook = previous
