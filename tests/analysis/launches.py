"""Launches of several `sinkscope analyze` processes, to one of which something may happen."""

import os
import signal
from dataclasses import asdict, dataclass
from typing import Any

import forks


@dataclass(frozen=True)
class Launch:
    """A command line, run by several processes.

    Attributes:
        arguments: of `sinkscope`.
        processes: how many.
        rank: of the process to which something happens.
        at: in which of its micro-batches; 0: nothing happens.
        how: `kill`, `refuse` (an error for the user) or `crash` (a bug).
        others_endless: whether the others' first micro-batch never ends.
    """

    arguments: list[str]
    processes: int = 2
    rank: int = 1
    at: int = 0
    how: str = "kill"
    others_endless: bool = False


@dataclass(frozen=True)
class Ended:
    """What came of a launch: by process, its exit code (negative: the signal) and what it wrote."""

    codes: list[int]
    out: list[str]
    err: list[str]


def launch(server: forks.Server, *launches: Launch) -> list[Ended]:
    """Runs launches one after another, each to its end."""
    return [_launched(server, one) for one in launches]


def _launched(server: forks.Server, one: Launch) -> Ended:
    group = server.start_group("launches:analyze", lambda rank: [asdict(one), rank], one.processes)
    codes = [process.wait() for process in group]
    return Ended(codes, [process.out for process in group], [process.err for process in group])


def analyze(described: dict[str, Any], rank: int) -> int:
    """One process of a launch."""
    import sinkscope.report.render
    from sinkscope.analysis.journal import Journal

    one = Launch(**described)
    defaults: Any = Journal.__init__.__kwdefaults__
    defaults["every"] = 0.0
    sinkscope.report.render.render = lambda *_: None  # type: ignore[assignment]  # for time
    _happens(one, rank)
    return forks.sinkscope(one.arguments)


def _happens(one: Launch, rank: int) -> None:
    """Makes happen in this process what is to happen."""
    from sinkscope.analysis.drivers.resident import Resident
    from sinkscope.errors import RequestError

    passes, forward_backward = 0, Resident._forward_backward

    def strikes(self: Resident, *arguments: Any) -> list[float]:
        nonlocal passes
        passes += 1
        while rank != one.rank and one.others_endless:
            signal.pause()
        if rank == one.rank and passes == one.at:
            if one.how == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            raise RequestError("it is broken") if one.how == "refuse" else TypeError("a bug")
        return forward_backward(self, *arguments)

    Resident._forward_backward = strikes  # type: ignore[method-assign]
