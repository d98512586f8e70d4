"""Ended from outside, by SIGTERM, by Ctrl-C, by a full disk: one line, and nothing left behind."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from forks import SINKSCOPE, Server

import sinkscope
from sinkscope.cli import main

ROOT = str(Path(sinkscope.__file__).parents[1])


def analysis(folder: Path, out: Path, *more: str) -> list[str]:
    return ["analyze", str(folder), "--sequences", "2", "--tokens", "16", "--sink-window", "8", "--early", "7",
            "--positions", "16", "--no-backward", "--out", str(out), *more]  # fmt: skip


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_termination_leaves_nothing_of_what_was_being_drawn(
    forks: Server, tiny_folders: dict[str, Path], tmp_path: Path, number: signal.Signals
) -> None:
    run = forks.start(SINKSCOPE, analysis(tiny_folders["llama_gqa"], tmp_path / "run"))
    run.wait_until(lambda: list(tmp_path.glob(".run.*.building")), "what it is building")
    run.signal(number)
    assert run.wait() == 1
    assert run.err.splitlines()[-1] == "sinkscope: interrupted"
    assert not list(tmp_path.iterdir())


def test_what_a_kill_left_of_a_run_is_gone_after_the_next(
    forks: Server, tiny_folders: dict[str, Path], tmp_path: Path
) -> None:
    arguments = analysis(tiny_folders["llama_gqa"], tmp_path / "run")
    run = forks.start(SINKSCOPE, arguments)
    run.wait_until(lambda: list(tmp_path.glob(".run.*.building")), "what it is building")
    second = forks.start(SINKSCOPE, arguments)
    assert second.wait() == 1
    assert f"is being written by process {run.pid} on " in second.err
    assert "choose another --out" in second.err
    run.signal(signal.SIGKILL)
    assert run.wait() == -signal.SIGKILL
    assert list(tmp_path.glob(".run.*.building"))
    assert forks.start(SINKSCOPE, arguments).wait() == 0
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


@pytest.mark.usefixtures("undrawn")
def test_a_termination_of_an_analysis_is_resumed(
    tiny_folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    from sinkscope.analysis.drivers.resident import Resident

    forward_backward = Resident._forward_backward

    def ended(self: Resident, *arguments: Any) -> list[float]:
        os.kill(os.getpid(), signal.SIGTERM)
        return forward_backward(self, *arguments)

    monkeypatch.setattr(Resident, "_forward_backward", ended)
    arguments = analysis(tiny_folders["llama_gqa"], tmp_path / "run")
    assert main(arguments) == 1
    assert "the same command with --resume goes on from here" in capfd.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == [".run.analysis"]
    monkeypatch.setattr(Resident, "_forward_backward", forward_backward)
    assert main([*arguments, "--resume"]) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


@pytest.mark.parametrize("during", ["import", "verb"])
def test_ctrl_c_while_libraries_are_imported_is_one_line(tmp_path: Path, during: str) -> None:
    """A module that interrupts when it is imported stands for a key pressed at that moment."""
    name, press = (
        ("typer" if during == "import" else "pandas"),
        "import os, signal; os.kill(os.getpid(), signal.SIGINT)",
    )
    turned = f"try:\n    {press}\nexcept KeyboardInterrupt:\n    raise ImportError('made of an interrupt')\n"
    (tmp_path / f"{name}.py").write_text(press if during == "import" else turned)
    done = subprocess.run(
        [sys.executable, "-m", "sinkscope", "analyze", "demo", "--out", str(tmp_path / "run")],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), ROOT])},
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr, done.stdout) == (1, "sinkscope: interrupted\n", "")


@pytest.mark.usefixtures("undrawn")
def test_a_full_disk_is_one_line(
    tiny_folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pandas.DataFrame.to_parquet", full)
    assert main(analysis(tiny_folders["llama_gqa"], tmp_path / "run")) == 1
    assert capfd.readouterr().err.splitlines()[-1] == (
        f"sinkscope: cannot write {tmp_path / 'run'}: No space left on device"
    )
    assert not list(tmp_path.iterdir())
