"""The notice of a first Ctrl-C stands on a line of its own, also where a stage was shown."""

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

import sinkscope

ROOT = str(Path(sinkscope.__file__).parents[1])
SCRIPT = """
import os, signal
from sinkscope.launch.interrupts import postponed_interrupts
os.write(2, b"\\r| sequence 1 of 8, about a long time left")
with postponed_interrupts("sequence") as interrupts:
    os.kill(os.getpid(), signal.SIGINT)
    assert interrupts.wanted
"""
NOTICE = "sinkscope: stopping after this sequence; Ctrl-C again to stop at once"


def test_on_a_terminal_it_takes_the_place_of_the_stage() -> None:
    ours, theirs = pty.openpty()
    subprocess.run([sys.executable, "-c", SCRIPT], cwd=ROOT, stderr=theirs, check=True)
    os.close(theirs)
    assert os.read(ours, 4096).decode().endswith(f"left\r\x1b[K{NOTICE}\r\n")
    os.close(ours)


def test_in_a_file_it_is_plain(capfd: pytest.CaptureFixture[str]) -> None:
    subprocess.run([sys.executable, "-c", SCRIPT], cwd=ROOT, check=True)
    assert capfd.readouterr().err.endswith(f"left{NOTICE}\n")
