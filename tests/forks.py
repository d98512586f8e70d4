"""Processes of the tests that are forks of one that has everything imported.

Torch, transformers and the rest take seconds to import. A test that needs a process (to kill it, to interrupt it, to
have several of them train) forks one off a server, which has imported them once for the whole session:

    def test_it(forks: Server) -> None:  # a fixture
        forked = forks.start(SINKSCOPE, ["analyze", "demo"])
        assert forked.wait() == 0, forked.err

What runs in the fork is a function of a module beside the tests, named `module:function`, with arguments that JSON can
carry; its return value is the exit code. This file is the server, too: run as a script, it reads requests from stdin.
"""

import atexit
import gc
import importlib
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

PATIENCE = 600.0  # seconds that a test waits for what must come; only a test that fails waits that long
SINKSCOPE = "forks:sinkscope"  # the command line, as a target
MODULE, SCRIPT = "forks:module", "forks:script"  # `python -m NAME` and `python FILE`


def sinkscope(arguments: list[str]) -> int:
    """The command line, in this process."""
    from sinkscope.cli import main
    from sinkscope.progress import surfaces

    surfaces.HEARTBEAT = 1e6  # seconds: how long a process takes depends on the machine
    sys.argv = ["sinkscope", *arguments]
    return main(arguments)


def module(arguments: list[str]) -> None:
    """`python -m`, in this process."""
    sys.argv = arguments
    runpy.run_module(arguments[0], run_name="__main__", alter_sys=True)


def script(arguments: list[str]) -> None:
    """`python FILE`, in this process."""
    sys.argv = arguments
    sys.path.insert(0, str(Path(arguments[0]).parent))
    runpy.run_path(arguments[0], run_name="__main__")


def wait_until(happened: Callable[[], Any], what: Callable[[], str]) -> None:
    """Waits until something has happened, and fails the test if it never does.

    Args:
        happened: asked again and again.
        what: says what is waited for, where it never comes.
    """
    started = time.monotonic()
    while not happened():
        waited = time.monotonic() - started
        if waited > PATIENCE:
            pytest.fail(f"waited {PATIENCE:.0f} seconds, and never saw {what()}")
        time.sleep(min(0.02, 0.001 + waited / 100))  # asking takes time from what is waited for


@dataclass(frozen=True)
class Forked:
    """A process that was forked off.

    Attributes:
        pid: its number.
        folder: holds what it writes, in files `out` and `err`.
        server: whose child it is.
    """

    pid: int
    folder: Path
    server: "Server"

    @property
    def out(self) -> str:
        """What it has written to stdout so far."""
        return (self.folder / "out").read_text(encoding="utf-8")

    @property
    def err(self) -> str:
        """What it has written to stderr so far."""
        return (self.folder / "err").read_text(encoding="utf-8")

    @property
    def code(self) -> int | None:
        """Its exit code (negative: the signal that ended it); None while it runs."""
        return self.server.code(self.pid)

    def wait(self) -> int:
        """Waits for its end, and returns its exit code."""
        self.wait_until(lambda: self.code is not None, "its end")
        code = self.code
        assert code is not None
        return code

    def wait_until(self, happened: Callable[[], Any], what: str) -> None:
        """Waits until something has happened; fails the test if the process ends before, or if it never does."""
        seen = False

        def settled() -> bool:
            nonlocal seen
            ended = self.code is not None  # asked first: what happened just before the end has happened
            seen = bool(happened())
            return seen or ended

        wait_until(settled, lambda: f"{what} of a process, which wrote: {self.err}")
        if not seen:
            pytest.fail(f"a process ended with {self.code} before {what}: {self.err}")

    def signal(self, number: signal.Signals) -> None:
        """Sends it a signal; the test fails if it has ended already."""
        assert self.code is None, f"it had ended with {self.code}: {self.err}"
        os.kill(self.pid, number)


class Server:
    """The process that forks; started when it is first needed.

    Args:
        folder: gets a folder per fork.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.count = 0
        self._process: subprocess.Popen[str] | None = None

    def start(self, target: str, *arguments: Any, environment: dict[str, str] | None = None) -> Forked:
        """Forks a process off.

        Args:
            target: `module:function`.
            arguments: of the function.
            environment: variables to set for it alone.
        """
        self.count += 1
        folder = self.folder / str(self.count)
        folder.mkdir()
        for name in ("out", "err"):
            (folder / name).touch()
        request = {"target": target, "arguments": arguments, "environment": environment or {}, "folder": str(folder)}
        return Forked(self._ask(request), folder, self)

    def start_group(
        self,
        target: str,
        arguments: Callable[[int], Sequence[Any]],
        processes: int,
        environment: dict[str, str] | None = None,
    ) -> list[Forked]:
        """Forks processes off that find each other, as those of a launcher do.

        Args:
            target: as for `start`.
            arguments: from a process's rank to its arguments.
            processes: how many.
            environment: as for `start`.
        """
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = str(free.getsockname()[1])
        shared = {"WORLD_SIZE": str(processes), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, **(environment or {})}
        return [
            self.start(target, *arguments(rank), environment={"RANK": str(rank), "LOCAL_RANK": str(rank), **shared})
            for rank in range(processes)
        ]

    def code(self, pid: int) -> int | None:
        """The exit code of a fork; None while it runs."""
        code: int | None = self._ask({"pid": pid})
        return code

    def stop(self) -> None:
        """Ends the server and what it has forked off."""
        if self._process is not None:
            self._process.communicate(timeout=PATIENCE)

    def _ask(self, request: dict[str, Any]) -> Any:
        process = self._process = self._process or self._started()
        assert process.stdin is not None
        assert process.stdout is not None
        print(json.dumps(request), file=process.stdin, flush=True)
        answer = process.stdout.readline()
        assert answer, (self.folder / "server").read_text(encoding="utf-8")
        return json.loads(answer)

    def _started(self) -> subprocess.Popen[str]:
        # One thread, since a fork takes only the one along that makes it.
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
        with (self.folder / "server").open("w") as log:
            return subprocess.Popen(
                [sys.executable, __file__],
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )


@contextmanager
def server(folder: Path) -> Iterator[Server]:
    """A server for the length of a `with` block."""
    made = Server(folder)
    try:
        yield made
    finally:
        made.stop()


def _import_everything() -> None:
    for module in (
        "accelerate.utils.fsdp_utils",
        "torch.distributed.fsdp",
        "torch.distributed.run",
        "sinkscope.analysis.run",
        "sinkscope.launch.group",
        "sinkscope.pretraining.run",
        "sinkscope.report.render",
    ):
        importlib.import_module(module)
    importlib.import_module("sinkscope.loading.load").load("demo")  # and what loading itself imports


def _serve() -> None:
    """Answers a request to fork with the child's number, and one for a number with how that child ended."""
    codes: dict[int, int | None] = {}
    for line in sys.stdin:
        request = json.loads(line)
        if "target" in request:
            answer: int | None = os.fork()
            if not answer:
                _run(**request)
            codes[answer or 0] = None
        else:
            pid = request["pid"]
            if codes[pid] is None:
                ended, status = os.waitpid(pid, os.WNOHANG)
                codes[pid] = os.waitstatus_to_exitcode(status) if ended else None
            answer = codes[pid]
        print(json.dumps(answer), flush=True)
    for pid, code in codes.items():
        if code is None:
            os.kill(pid, signal.SIGKILL)


def _run(target: str, arguments: list[Any], environment: dict[str, str], folder: str) -> None:
    """Runs a target in this process, the fork, and exits."""
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for descriptor, name in ((1, "out"), (2, "err")):
        os.dup2(os.open(Path(folder, name), os.O_WRONLY), descriptor)
    # A shell starts background jobs with SIGINT ignored, and children inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.update(environment)
    code = 1
    try:
        home, name = target.split(":")
        code = getattr(importlib.import_module(home), name)(*arguments) or 0
    except SystemExit as exit_:
        code = exit_.code if isinstance(exit_.code, int) else int(exit_.code is not None)
    except BaseException:
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    atexit._run_exitfuncs()
    os._exit(code)  # without taking everything apart that the forks share


if __name__ == "__main__":
    _import_everything()
    gc.freeze()
    _serve()
