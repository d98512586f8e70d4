"""Where stages are shown: a line that is written over again on a terminal or in a notebook, or a line now and then.

A thread of its own writes, so that the line moves while the work computes or a library imports. It is written by hand,
not by rich: it has to be there before anything is imported that takes long, and only ever holds one line.
"""

import os
import shutil
import sys
import threading
from typing import Protocol, TextIO

from sinkscope.durations import duration_text
from sinkscope.progress.stages import Stages
from sinkscope.terminal import readable

HEARTBEAT = 30.0  # seconds between two lines where nothing can be written over
_TICK = 0.25
_LONG = 3.0  # seconds after which a stage that is not counted says how long it has taken
_SPINNER = "-\\|/"


class Surface(Protocol):
    """Shows stages until it is closed."""

    def say(self, text: str) -> None:
        """Leaves a line behind."""

    def close(self) -> None:
        """Takes away what is written over."""


class _Threaded:
    """What both surfaces share: a thread that draws at every interval."""

    def __init__(self, stages: Stages, stream: TextIO, interval: float) -> None:
        self._stages = stages
        self._stream = stream
        self._interval = interval
        self._closed = threading.Event()
        self._lock = threading.RLock()
        self._thread = threading.Thread(target=self._run, name="sinkscope-progress", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._closed.wait(self._interval):
            with self._lock:
                if not self._closed.is_set():
                    self._draw()

    def _draw(self) -> None:
        raise NotImplementedError

    def _write(self, text: str) -> None:
        try:
            self._stream.write(text)
            self._stream.flush()
        except (OSError, ValueError):  # nobody reads any more, or the stream is closed: the work goes on
            self._closed.set()

    def say(self, text: str) -> None:
        """Leaves a line behind."""
        with self._lock:
            self._write(f"{text}\n")

    def close(self) -> None:
        """Ends the thread."""
        self._closed.set()
        if self._thread is not threading.current_thread():
            self._thread.join()


class Heartbeat(_Threaded):
    """A line at every interval, for logs."""

    def __init__(self, stages: Stages, stream: TextIO, interval: float | None = None) -> None:
        super().__init__(stages, stream, HEARTBEAT if interval is None else interval)

    def _draw(self) -> None:
        line = self._stages.line()
        if line:
            self._write(f"progress: {readable(line)}\n")


class Line(_Threaded):
    """One line that is written over again, and gone in the end."""

    def __init__(self, stages: Stages, stream: TextIO, interval: float = _TICK) -> None:
        self._width = 0  # of what is on the line
        self._ticks = 0
        super().__init__(stages, stream, interval)

    def _draw(self) -> None:
        line = self._stages.line()
        if not line:
            return
        seconds = self._stages.elapsed()
        if " left" not in line and seconds >= _LONG:
            line = f"{line} ({duration_text(seconds)})"
        self._ticks += 1
        room = shutil.get_terminal_size().columns - 1
        text = f"{_SPINNER[self._ticks % len(_SPINNER)]} {readable(line)}"[:room]
        self._write("\r" + text.ljust(self._width))
        self._width = len(text)

    def _erase(self) -> None:
        if self._width:
            self._write("\r" + " " * self._width + "\r")
            self._width = 0

    def say(self, text: str) -> None:
        """Leaves a line behind, above the one that is written over."""
        with self._lock:
            self._erase()
            super().say(text)

    def close(self) -> None:
        """Ends the thread and takes the line away."""
        super().close()
        with self._lock:
            self._erase()


def is_interactive() -> bool:
    """Whether stderr is a terminal or a notebook's, where a line can be written over."""
    return in_notebook() or (sys.stderr is not None and sys.stderr.isatty() and os.environ.get("TERM") != "dumb")


def in_notebook() -> bool:
    """Whether a Jupyter kernel runs this."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return shell is not None and hasattr(shell, "kernel")
