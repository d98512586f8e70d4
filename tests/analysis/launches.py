"""Launches of several `sinkscope` processes, each launch a few forks of this one process, which has everything loaded.

Run as a script: reads launches as JSON from stdin, and writes what came of each as JSON.
"""

import atexit
import gc
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
ENDLESS = 600.0  # seconds


@dataclass(frozen=True)
class Launch:
    """A command line, run by several processes.

    Attributes:
        arguments: of `sinkscope`.
        processes: how many.
        rank: of the process to which something happens.
        at: in which of its micro-batches; 0: nothing happens.
        how: `kill`, `refuse` (an error for the user) or `crash` (a bug).
        others_endless: whether the others' first micro-batch takes ten minutes.
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
    seconds: float


def launch(*launches: Launch) -> list[Ended]:
    """Runs launches one after another."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    content = json.dumps([asdict(one) for one in launches])
    with tempfile.TemporaryDirectory() as scratch:
        script = [sys.executable, __file__, scratch]
        done = subprocess.run(script, input=content, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return [Ended(**ended) for ended in json.loads(done.stdout)]


def _happens(one: Launch, rank: int) -> None:
    """Makes happen in this process what is to happen."""
    from sinkscope.analysis.drivers.resident import Resident
    from sinkscope.errors import SinkscopeError

    passes, forward_backward = 0, Resident._forward_backward

    def strikes(self: Resident, *arguments: Any) -> list[float]:
        nonlocal passes
        passes += 1
        if rank != one.rank:
            time.sleep(ENDLESS if one.others_endless else 0)
        elif passes == one.at:
            if one.how == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            raise SinkscopeError("it is broken", exit_code=2) if one.how == "refuse" else TypeError("a bug")
        return forward_backward(self, *arguments)

    Resident._forward_backward = strikes  # type: ignore[method-assign]


def _run(one: Launch, rank: int, port: int) -> None:
    from sinkscope.analysis.journal import Journal
    from sinkscope.cli import main

    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(one.processes)}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    defaults: Any = Journal.__init__.__kwdefaults__
    defaults["every"] = 0.0
    _happens(one, rank)
    sys.argv = ["sinkscope", *one.arguments]
    code = main(one.arguments)
    sys.stdout.flush()
    atexit._run_exitfuncs()
    os._exit(code)  # without taking everything apart that the forks share


def _launched(one: Launch, folder: Path) -> Ended:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    started = time.monotonic()
    children = []
    for rank in range(one.processes):
        child = os.fork()
        if not child:
            for descriptor, name in ((1, "out"), (2, "err")):
                os.dup2(os.open(folder / f"{name}{rank}", os.O_CREAT | os.O_TRUNC | os.O_WRONLY), descriptor)
            _run(one, rank, port)
        children.append(child)
    codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    said = [[(folder / f"{name}{rank}").read_text() for rank in range(one.processes)] for name in ("out", "err")]
    return Ended(codes, *said, time.monotonic() - started)


if __name__ == "__main__":
    import sinkscope.analysis.run
    import sinkscope.cli
    import sinkscope.launch.group
    import sinkscope.report.render
    from sinkscope.loading.load import load

    load("demo")  # once for all forks: what loading itself loads
    gc.freeze()
    sinkscope.report.render.render = lambda *_: None  # type: ignore[assignment]  # for time
    ended = [_launched(Launch(**one), Path(sys.argv[1])) for one in json.load(sys.stdin)]
    print(json.dumps([asdict(one) for one in ended]))
