"""One owner per place: whoever writes there holds a lock, and a second process is refused.

Two processes that write to one place mix what they keep there, or the later one replaces what the earlier one made. So
a process that is going to write to NAME holds a lock on `.NAME.lock` beside it as long as it works. The system gives
the lock back when the process ends, however it ends; the file that is left after a kill holds nothing up. In the file
stands who holds it, for the message that refuses the second.

A new owner first tidies up after those before it: what was moved aside for something that never came is put back, and
what was being built is removed (`beside`). The work that a place belongs to (`.NAME.analysis/`) is the owner's, too.
"""

import json
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from sinkscope.errors import SinkscopeError
from sinkscope.files.beside import recover, remove_leftovers
from sinkscope.files.failures import explained_failures
from sinkscope.files.whole import make_folders, remove_empty

_TRIES = 5  # a lock whose holder removes its file at that moment is free at the next try
_held: dict[Path, "_Held"] = {}
_looking = threading.Lock()


@dataclass
class _Held:
    """A lock of this process: which thread has it, and how often it has entered."""

    thread: int
    depth: int = 1


@contextmanager
def owned(place: Path | None, *, here: bool = True) -> Iterator[None]:
    """While entered, this thread alone writes to a place; what it calls may enter again.

    Args:
        place: a file or folder, there or not; with None nothing is owned.
        here: False in all but one of several processes that work together, which then own nothing.

    Raises:
        SinkscopeError: if another process or thread owns it, or nothing can be written beside it.
    """
    if place is None or not here:
        yield
        return
    place = place.expanduser().absolute()
    place = place.parent.resolve() / place.name
    if _entered(place):
        try:
            yield
        finally:
            _held[place].depth -= 1
        return
    made: list[Path] = []
    try:
        with explained_failures(place):
            made = make_folders(place.parent)
            lock = _acquired(place)
        try:
            with explained_failures(place):
                _tidy(place)
            yield
        finally:
            with suppress(OSError):
                _tidy(place)  # an interrupt can strike between a folder is made and somebody knows it
            _release(place, lock)
    finally:
        with _looking:
            _held.pop(place, None)
        remove_empty(made)


def is_owned(place: Path) -> bool:
    """Whether somebody owns a place at this moment, this process included."""
    place = place.expanduser().absolute()
    place = place.parent.resolve() / place.name
    if place in _held:
        return True
    if not lock_of(place).exists():
        return False
    lock = FileLock(lock_of(place), thread_local=False)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return True
    lock.release()
    return False


def lock_of(place: Path) -> Path:
    """The file that the owner of a place has locked."""
    return place.with_name(f".{place.name}.lock")


def _tidy(place: Path) -> None:
    """Clears away what was being built for a place, and puts back what was moved aside for it."""
    recover(place)
    remove_leftovers(place.parent, place.name)


def _entered(place: Path) -> bool:
    """Whether this thread owns a place already; where nobody of this process does, it is this thread's to lock."""
    me = threading.get_ident()
    with _looking:
        held = _held.get(place)
        if held is None:
            _held[place] = _Held(me)
            return False
        if held.thread != me:
            raise SinkscopeError(f"{place} is being written by another thread of this process: choose another `out`")
        held.depth += 1
        return True


def _acquired(place: Path) -> FileLock:
    file = lock_of(place)
    lock = FileLock(file, thread_local=False)
    for _ in range(_TRIES):
        try:
            lock.acquire(timeout=0)
        except Timeout:
            if file.exists():
                break
            continue
        with suppress(OSError):  # it is for a message alone
            file.write_text(json.dumps({"process": os.getpid(), "host": socket.gethostname()}), encoding="utf-8")
        return lock
    if not file.exists():
        file.touch()  # what keeps the lock from being made says the system here
        file.unlink()
    raise SinkscopeError(f"{place} is being written by {_holder(file)}: wait for it, or choose another `out`")


def _holder(file: Path) -> str:
    """Who holds a lock, as far as its file says."""
    with suppress(OSError, ValueError, TypeError, KeyError):
        known = json.loads(file.read_text(encoding="utf-8"))
        return f"process {int(known['process'])} on {ascii(str(known['host']))[1:-1]}"
    return "another process"


def _release(place: Path, lock: FileLock) -> None:
    """Gives a lock back, and removes its file while nobody else can have it."""
    with suppress(OSError):
        lock_of(place).unlink(missing_ok=True)
    lock.release()
