"""Ctrl-C that cannot get lost, and SIGTERM that ends a process as Ctrl-C does.

Python drops an exception that is raised inside a finalizer, and an interrupt that strikes there is dropped with it: the
program goes on as if nobody had pressed a key. Importing the large libraries runs thousands of finalizers, so this does
happen. The hook for such dropped exceptions is used to deliver the interrupt once more, a moment later. Others turn it
into an error of their own; whoever has seen one come knows that error for what it is.

A scheduler, `kill` and a terminal that closes end a process with a signal that Python does not turn into an exception:
nothing would be saved, and nothing cleared away. Here these signals do what Ctrl-C does at that moment.
"""

import _thread
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sinkscope.launch.environment import is_main_process

_MOMENT = 0.01  # seconds, for the finalizer to end
_CLEARED = "\r\x1b[K"  # takes away what stands on a terminal's line: the stage that is shown there, and "^C"


class Seen:
    """Whether an interrupt came inside an `insistent_interrupts` block."""

    def __init__(self) -> None:
        self.any = False


@contextmanager
def insistent_interrupts() -> Iterator[Seen]:
    """While entered, a KeyboardInterrupt that was dropped is raised again in the main thread.

    Yields:
        Whether one came at all.
    """
    seen = Seen()

    def note(_signal: int, _frame: Any) -> None:
        seen.any = True
        raise KeyboardInterrupt

    with _handled(signal.SIGINT, note, instead_of=signal.default_int_handler), _raised_again():
        yield seen


@contextmanager
def terminations_as_interrupts() -> Iterator[None]:
    """While entered, SIGTERM and SIGHUP do what Ctrl-C would do, unless somebody else handles or ignores them."""

    def interrupt(_signal: int, frame: Any) -> None:
        handler = signal.getsignal(signal.SIGINT)
        if not callable(handler):
            raise KeyboardInterrupt
        handler(signal.SIGINT, frame)

    with _handled(signal.SIGTERM, interrupt, instead_of=signal.SIG_DFL):
        hangup = getattr(signal, "SIGHUP", signal.SIGTERM)  # Windows has none
        with _handled(hangup, interrupt, instead_of=signal.SIG_DFL):
            yield


@contextmanager
def _handled(number: signal.Signals, handler: Any, *, instead_of: Any) -> Iterator[None]:
    """While entered, a signal has a handler, if it is in its usual state and this is the main thread."""
    main = threading.current_thread() is threading.main_thread()
    if not main or signal.getsignal(number) != instead_of:
        yield
        return
    signal.signal(number, handler)
    try:
        yield
    finally:
        signal.signal(number, instead_of)


@contextmanager
def _raised_again() -> Iterator[None]:
    """While entered, a KeyboardInterrupt that was dropped is raised again in the main thread.

    One whose moment has not come when the block ends is let go: what it should have ended has, and it would strike
    whatever the process does next.
    """
    previous = sys.unraisablehook
    coming: list[threading.Timer] = []

    def hook(dropped: Any) -> None:
        if dropped.exc_type is KeyboardInterrupt:
            coming.append(threading.Timer(_MOMENT, _thread.interrupt_main))
            coming[-1].start()
        else:
            previous(dropped)

    sys.unraisablehook = hook
    try:
        yield
    finally:
        sys.unraisablehook = previous
        for timer in coming:
            timer.cancel()


class Interrupts:
    """The interrupts of a `postponed_interrupts` block.

    Attributes:
        wanted: whether one came.
    """

    def __init__(self) -> None:
        self.wanted = False

    def deliver(self) -> None:
        """Raises KeyboardInterrupt if one came."""
        if self.wanted:
            raise KeyboardInterrupt


@contextmanager
def postponed_interrupts(unit: str) -> Iterator[Interrupts]:
    """While entered, Ctrl-C waits until the block asks for it, so that what is at work ends in a state worth saving.

    A second one strikes at once. Outside the main thread nothing is postponed, since no interrupt arrives there.

    Args:
        unit: what is finished first, for the message on stderr.
    """
    interrupts = Interrupts()
    if threading.current_thread() is not threading.main_thread():
        yield interrupts
        return

    def note(_signal: int, _frame: Any) -> None:
        if interrupts.wanted:
            raise KeyboardInterrupt
        interrupts.wanted = True
        if is_main_process():
            text = f"sinkscope: stopping after this {unit}; Ctrl-C again to stop at once\n"
            text = _CLEARED + text if os.isatty(2) else text
            os.write(2, text.encode())  # a buffered stream may be in the middle of a write

    previous = signal.signal(signal.SIGINT, note)
    try:
        yield interrupts
    finally:
        signal.signal(signal.SIGINT, previous)
