"""Processes that work on one thing together, launched by `accelerate launch` or `torch.distributed.run`.

The processes exchange Python values over the CPU. When one of them fails, all have to end, and the user should read one
line about it. The process that fails writes its error into the launcher's key-value store. In every process a thread
reads that store a few times a second. The first process prints the error and marks it as printed; the others wait for
that mark, and then all of them exit. A thread does this because the main thread can be anywhere: in a pass that lasts
another hour, or in an exchange that the failed process will never join.
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
from sinkscope.launch.threads import share_cores
from sinkscope.terminal import readable

T = TypeVar("T")

_EXCHANGE_TIMEOUT = datetime.timedelta(hours=24)  # between the first process that is done with its share and the last
_REPORT_TIMEOUT = datetime.timedelta(seconds=20)  # for the first process to print an error
_POLL_INTERVAL, _GRACE_PERIOD = 0.2, 1.0  # seconds
_FAILED, _REPORTED = "sinkscope/failed", "sinkscope/reported"


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
        with _checked_exchange():
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
            with _checked_exchange():
                dist.send(content, dst=0)
            return
        for rank in range(1, self.count):
            received = torch.empty(sizes[rank], dtype=torch.uint8)
            with _checked_exchange():
                dist.recv(received, src=rank)
            yield received

    def from_first(self, make: Callable[[], T]) -> T:
        """The value that the first process makes, handed to all of them."""
        made: list[Any] = [make() if self.main else None]
        with _checked_exchange():
            dist.broadcast_object_list(made, src=0)
        result: T = made[0]
        return result


@contextmanager
def together() -> Iterator[Processes]:
    """While entered, the launched processes work together: an error in one ends all, and the first prints it.

    Yields:
        The processes.

    Raises:
        SinkscopeError: if they cannot find each other.
    """
    try:
        store, rank, count = next(dist.rendezvous("env://"))  # type: ignore[attr-defined]
        dist.init_process_group("gloo", store=store, rank=rank, world_size=count, timeout=_EXCHANGE_TIMEOUT)
    except (RuntimeError, ValueError) as error:
        raise SinkscopeError(f"the processes cannot find each other: {str(error).partition(chr(10))[0]}") from error
    share_cores()
    store = dist.PrefixStore("sinkscope", store)  # type: ignore[attr-defined]
    done = threading.Event()
    threading.Thread(target=_watch, args=(store, rank, done), daemon=True).start()
    try:
        yield Processes(rank, count)
    except BaseException as error:
        done.set()
        _report_failure(store, rank, error)
        raise
    done.set()
    dist.destroy_process_group()


@contextmanager
def _checked_exchange() -> Iterator[None]:
    """Turns the error of an exchange that another process has left into one line."""
    try:
        yield
    except RuntimeError as error:
        raise SinkscopeError("another process ended, and this one with it: its own messages say why") from error


def _report_failure(store: Any, rank: int, error: BaseException) -> None:
    """Writes an error into the store, and waits until the first process has printed it.

    Raises:
        SystemExit: in the other processes if the error is an expected one, so that they print nothing themselves.
    """
    expected = isinstance(error, SinkscopeError | KeyboardInterrupt | SystemExit)
    message = str(error) if isinstance(error, SinkscopeError) else "interrupted"
    if not expected:
        message = f"{type(error).__name__}: {error}"
    code = exit_code(error)
    with suppress(RuntimeError):  # the store may be gone, and with it those who would read
        if store.add(f"{_FAILED}/first", 1) == 1:
            store.set(_FAILED, json.dumps({"rank": rank, "message": message, "code": code}))
        if rank:
            store.wait([_REPORTED], _REPORT_TIMEOUT)
    if rank == 0:
        atexit.register(_mark_reported, store)  # at exit the line is on the screen
    elif expected:
        raise SystemExit(code) from error


def _watch(store: Any, rank: int, done: threading.Event) -> None:
    """Ends the process once another one has failed."""
    while not done.wait(_POLL_INTERVAL):
        try:
            if not store.check([_FAILED]):
                continue
            failed = json.loads(store.get(_FAILED))
        except RuntimeError:  # the store is gone, and with it the launcher
            os._exit(1)
        if done.is_set():
            return
        if rank == 0:
            if done.wait(_GRACE_PERIOD):  # the first process failed too, and prints its own error
                return
            message = readable(f"sinkscope: {failed['message']} (process {failed['rank']})")
            os.write(2, f"{message}\n".encode())
            _mark_reported(store)
        else:
            with suppress(RuntimeError):
                store.wait([_REPORTED], _REPORT_TIMEOUT)
        os._exit(failed["code"])


def _mark_reported(store: Any) -> None:
    """Lets the other processes exit: the error is printed."""
    with suppress(RuntimeError):
        store.set(_REPORTED, "")
