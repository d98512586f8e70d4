"""Stages on stderr: a line now and then where it is a file, one that is written over where it is a terminal."""

import io
import os
import pty
import sys
import threading
from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from sinkscope import terminal
from sinkscope.progress import display, surfaces
from sinkscope.progress.display import counted, ended, is_shown, say, say_plan, shown, stage, wants_plan
from sinkscope.progress.stages import Stages
from sinkscope.progress.surfaces import Heartbeat, Line


class Waited(io.StringIO):
    """A stream that says when something was written."""

    def __init__(self) -> None:
        super().__init__()
        self.written = threading.Event()

    def write(self, text: str) -> int:
        count = super().write(text)
        self.written.set()
        return count

    def await_more(self) -> None:
        """Waits for the next thing that is written."""
        self.written.clear()
        assert self.written.wait(60)


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(surfaces, "HEARTBEAT", 0.01)


@pytest.fixture
def stderr(monkeypatch: pytest.MonkeyPatch) -> Iterator[Waited]:
    stream = Waited()
    for module in (display, terminal):  # pytest sets sys.stderr before every test
        monkeypatch.setattr(module, "sys", SimpleNamespace(stderr=stream, __stdout__=None, __stderr__=None))
    yield stream
    assert not is_shown()


@pytest.mark.usefixtures("often")
def test_a_log_gets_a_line_now_and_then(stderr: Waited) -> None:
    with shown(True):
        stage("loading")
        stderr.await_more()
        for number in counted([1, 2, 3], "sequence"):
            if number == 2:
                stderr.await_more()
                stderr.await_more()
    lines = stderr.getvalue().splitlines()
    assert lines[0] == "progress: loading"
    assert any(line.startswith("progress: sequence 2 of 3, about ") and line.endswith(" left") for line in lines)
    assert "\r" not in stderr.getvalue()


def test_a_log_of_short_work_has_no_line(stderr: Waited) -> None:
    with shown(True):
        assert list(counted([1, 2, 3], "sequence", done=1)) == [2, 3]
    assert stderr.getvalue() == ""


def test_scripts_are_left_alone(stderr: Waited) -> None:
    for progress in (None, False):
        with shown(progress):
            assert not is_shown()
            assert not wants_plan()
            say_plan("plan", {})
            assert list(counted("ab", "letter")) == ["a", "b"]
    assert stderr.getvalue() == ""


def test_other_processes_show_nothing(stderr: Waited, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"RANK": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "localhost", "MASTER_PORT": "1"}.items():
        monkeypatch.setenv(name, value)
    with shown(True):
        assert not is_shown()
    assert stderr.getvalue() == ""


def test_a_plan_is_said_once_and_in_the_words_of_whoever_shows_it(stderr: Waited) -> None:
    with shown(True, str.upper), shown(True):
        assert wants_plan()
        say_plan("plan: long", {"sequence": 5.0})
        assert not wants_plan()
        say_plan("plan: another", {})
        say("more")
        ended()
        say("results")
    assert stderr.getvalue() == "PLAN: LONG\nMORE\nRESULTS\n"


def test_a_line_is_written_over_and_gone_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    stages, stream = Stages(), Waited()
    stages.begin("loading a model whose name is far too long for the line")
    line = Line(stages, stream, interval=0.01)
    stream.await_more()
    line.say("plan: said")
    stages.begin("sequence", 3)
    stream.await_more()
    stream.await_more()
    line.close()
    text = stream.getvalue()
    drawn = [part for part in text.split("\r") if part.strip()]
    assert drawn[0][1:] == " loading a model whose name is far too "[:38]
    assert "plan: said\n" in drawn
    assert any("sequence 1 of 3" in part for part in drawn)
    assert text.count("\n") == 1
    assert text.endswith(" \r")


def test_a_stream_that_is_closed_does_no_harm() -> None:
    stages, stream = Stages(), io.StringIO()
    stages.begin("loading")
    stream.close()
    beat = Heartbeat(stages, stream, interval=0.01)
    beat._thread.join(60)
    assert not beat._thread.is_alive()
    beat.close()


def test_terminals_and_notebooks_are_told_from_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    assert not surfaces.is_interactive()
    master, slave = pty.openpty()
    with os.fdopen(slave, "w") as terminal, os.fdopen(master):
        monkeypatch.setenv("TERM", "xterm")
        monkeypatch.setattr(sys, "stderr", terminal)
        assert surfaces.is_interactive()
        with shown():
            assert isinstance(display._current._surface, Line)  # type: ignore[union-attr]
        monkeypatch.setenv("TERM", "dumb")
        assert not surfaces.is_interactive()
    shell = type("Shell", (), {"kernel": None})()
    monkeypatch.setitem(sys.modules, "IPython", type("IPython", (), {"get_ipython": staticmethod(lambda: shell)}))
    assert surfaces.is_interactive()
