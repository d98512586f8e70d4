"""Processes that work on one thing together, launched by `accelerate launch` or `torch.distributed.run`.

They exchange Python values over the CPU. A process that fails says so in the launcher's key-value store and waits until
the first process has told the user. A thread of every other one looks there and ends its process, wherever the main
thread is: in a pass that would last another hour, or in an exchange with the one that failed.
"""

import atexit
import datetime
import json
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from sinkscope.errors import RequestError, SinkscopeError
from sinkscope.launch.exit_codes import exit_code

T = TypeVar("T")

_PATIENCE = datetime.timedelta(hours=24)  # between the first process that is done with its share and the last
_LAST_WORDS = datetime.timedelta(seconds=20)  # for the first process to tell the user
_LOOK_EVERY, _GRACE = 0.2, 1.0  # seconds
_FAILED, _TOLD = "sinkscope/failed", "sinkscope/told"


class Processes:
    """The processes that share an analysis, as seen by one of them.

    Attributes:
        rank: its number.
        count: how many there are.
    """

    def __init__(self, rank: int, count: int) -> None:
        self.rank = rank
        self.count = count

    @property
    def main(self) -> bool:
        """Whether it is the one that writes and prints."""
        return self.rank == 0

    def share(self, sequences: int) -> slice:
        """The process's contiguous part of the sequences; shares differ by one sequence at most.

        Raises:
            SinkscopeError: if some process would have none.
        """
        if sequences < self.count:
            raise RequestError(
                f"{self.count} processes cannot share {sequences} sequences: launch fewer, or use more `sequences`"
            )
        return slice(self.rank * sequences // self.count, (self.rank + 1) * sequences // self.count)

    def device(self, asked: str) -> str:
        """The process's own device.

        Args:
            asked: what the user asked for; `auto` and `cuda` stand for a GPU per process.

        Raises:
            SinkscopeError: if there are fewer GPUs than processes.
        """
        if asked not in ("auto", "cuda") or not torch.cuda.is_available():
            return asked
        local = int(os.environ.get("LOCAL_RANK", self.rank))
        if local >= torch.cuda.device_count():
            raise RequestError(f"there are {torch.cuda.device_count()} GPUs and more processes: launch one per GPU")
        return f"cuda:{local}"

    def exchange(self, value: T) -> list[T]:
        """Every process's value, by rank."""
        values: list[Any] = [None] * self.count
        with _in_touch():
            dist.all_gather_object(values, value)
        return values

    def agree(self, value: Any, complaint: str) -> None:
        """Makes sure that all processes have the same.

        Raises:
            SinkscopeError: with the complaint, if not.
        """
        if any(other != value for other in self.exchange(value)):
            raise SinkscopeError(complaint)

    def gather(self, content: Tensor) -> Iterator[Tensor]:
        """Sends bytes to the first process, which gets those of the others one after another, by rank.

        Args:
            content: uint8 on the CPU, of any length.

        Yields:
            The others' contents, in the first process alone; each is received when it is asked for.
        """
        sizes = self.exchange(len(content))
        if not self.main:
            with _in_touch():
                dist.send(content, dst=0)
            return
        for rank in range(1, self.count):
            received = torch.empty(sizes[rank], dtype=torch.uint8)
            with _in_touch():
                dist.recv(received, src=rank)
            yield received

    def of_main(self, make: Callable[[], T]) -> T:
        """What the first process makes, in all of them."""
        made: list[Any] = [make() if self.main else None]
        with _in_touch():
            dist.broadcast_object_list(made, src=0)
        result: T = made[0]
        return result


@contextmanager
def together() -> Iterator[Processes]:
    """While entered, the launched processes work together; an error in one ends all, with one line of the first.

    Yields:
        The processes.

    Raises:
        SinkscopeError: if they cannot find each other.
    """
    try:
        store, rank, count = next(dist.rendezvous("env://"))  # type: ignore[attr-defined]
        dist.init_process_group("gloo", store=store, rank=rank, world_size=count, timeout=_PATIENCE)
    except (RuntimeError, ValueError) as error:
        raise SinkscopeError(f"the processes cannot find each other: {str(error).partition(chr(10))[0]}") from error
    store = dist.PrefixStore("sinkscope", store)  # type: ignore[attr-defined]
    done = threading.Event()
    threading.Thread(target=_watch, args=(store, rank, done), daemon=True).start()
    try:
        yield Processes(rank, count)
    except BaseException as error:
        done.set()
        _tell(store, rank, error)
        raise
    done.set()
    dist.destroy_process_group()


@contextmanager
def _in_touch() -> Iterator[None]:
    """Around what all processes do together."""
    try:
        yield
    except RuntimeError as error:
        raise SinkscopeError("another process ended, and this one with it: its own messages say why") from error


def _tell(store: Any, rank: int, error: BaseException) -> None:
    """Makes an error known, and waits until the first process has told the user.

    Raises:
        SystemExit: in the others, where there is nothing more to say.
    """
    expected = isinstance(error, SinkscopeError | KeyboardInterrupt | SystemExit)
    said = str(error) if isinstance(error, SinkscopeError) else "interrupted"
    if not expected:
        said = f"{type(error).__name__}: {error}"
    code = exit_code(error)
    with suppress(RuntimeError):  # the store may be gone, and with it those who would read
        if store.add(f"{_FAILED}/first", 1) == 1:
            store.set(_FAILED, json.dumps({"rank": rank, "message": said, "code": code}))
        if rank:
            store.wait([_TOLD], _LAST_WORDS)
    if rank == 0:
        atexit.register(_told, store)  # at exit the line is on the screen
    elif expected:
        raise SystemExit(code) from error


def _watch(store: Any, rank: int, done: threading.Event) -> None:
    """Ends the process once another one has failed."""
    while not done.wait(_LOOK_EVERY):
        try:
            if not store.check([_FAILED]):
                continue
            failed = json.loads(store.get(_FAILED))
        except RuntimeError:  # the store is gone, and with it the launcher
            os._exit(1)
        if done.is_set():
            return
        if rank == 0:
            if done.wait(_GRACE):  # the first process failed for itself, and tells of that
                return
            message = " ".join(f"sinkscope: {failed['message']} (process {failed['rank']})".split())
            os.write(2, f"{message}\n".encode())
            _told(store)
        else:
            with suppress(RuntimeError):
                store.wait([_TOLD], _LAST_WORDS)
        os._exit(failed["code"])


def _told(store: Any) -> None:
    with suppress(RuntimeError):
        store.set(_TOLD, "")
