"""Odd places and devices: what works does, and the rest is one line, about the names in a request first."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import sinkscope
from sinkscope.cli import main
from sinkscope.cli.output import place_for
from sinkscope.errors import RequestError
from sinkscope.inputs import Output
from sinkscope.planning.plan import plan
from sinkscope.training.engine import make_accelerator

QUICK = ["--sequences", "2", "--tokens", "32", "--positions", "32", "--no-backward"]
ROOT = Path(sinkscope.__file__).parents[1]


@pytest.mark.parametrize("device", ["0", "CPU", "cuda:99", "meta", "nonsense", ""])
@pytest.mark.parametrize(
    "verb",
    [["analyze", "demo", *QUICK, "--out", "OUT"], ["plan", "demo"], ["evaluate", "demo", "--out", "OUT"],
     ["quantize", "demo", "--methods", "none", "--out", "OUT"],
     ["finetune", "demo", "--steps", "1", "--out", "OUT"]],
    ids=lambda verb: verb[0],
)  # fmt: skip
def test_a_device_that_is_none(
    verb: list[str], device: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By every verb in one line, which names the option, and nothing is left."""
    command = [str(tmp_path / "out") if word == "OUT" else word for word in verb]
    assert main([*command, "--device", device]) == 2
    complaints = [line for line in capsys.readouterr().err.splitlines() if line.startswith("sinkscope:")]
    assert len(complaints) == 1
    assert "device" in complaints[0]
    assert not (tmp_path / "out").exists()


def test_devices_in_the_library() -> None:
    for device in ("0", "meta", "cuda:99"):
        with pytest.raises(RequestError, match="device"):
            plan("demo", device=device)
    with pytest.raises(RequestError, match="`device=0` is none"):
        make_accelerator(precision="float32", device="0")


def test_a_tilde_in_a_place_is_the_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """However the shell passes it on; `report` too. Nothing named ~ is made here."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    monkeypatch.chdir(tmp_path)
    assert main(["analyze", "demo", *QUICK, "--device", "cpu", "--out=~/run"]) == 0
    assert main(["report", "~/run", "--format", "md", "--out=~/report"]) == 0
    assert sorted(path.name for path in (tmp_path / "home").iterdir()) == ["report", "run"]
    assert [path.name for path in tmp_path.iterdir()] == ["home"]


def test_an_empty_folder_is_a_place(tmp_path: Path) -> None:
    """Somebody made it for the run; one with anything in it is not."""
    assert place_for(Output(tmp_path))[0] == tmp_path
    (tmp_path / ".hidden").touch()
    with pytest.raises(RequestError, match="exists: choose another `out`"):
        place_for(Output(tmp_path))
    with pytest.raises(RequestError, match=r"holds no run\.json"):
        place_for(Output(tmp_path, force=True))


@pytest.mark.parametrize(
    "verb",
    [["analyze", "./missing"], ["evaluate", "./missing"], ["quantize", "./missing", "--methods", "none"],
     ["track", "./missing"], ["compare", "./missing", "./other"]],
    ids=lambda verb: verb[0],
)  # fmt: skip
def test_the_request_before_its_place(verb: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    assert main([*verb, "--out", str(tmp_path)]) != 0
    assert "missing" in capsys.readouterr().err


def test_a_keyword_that_there_is_none_of() -> None:
    """The answer lists all that can be given, not the fields alone."""
    with pytest.raises(TypeError, match=r"unexpected keyword argument 'sequenses'; there are: .*") as caught:
        sinkscope.analyze("demo", sequenses=2)  # type: ignore[call-arg]
    there = str(caught.value).partition("there are: ")[2].split(", ")
    assert {"model", "data", "settings", "tokenizer", "progress", "sequences", "dtype", "out"} <= {*there}
    assert there == sorted(there)


@pytest.mark.parametrize("after", [0.05, 0.3, 1.0, 2.0])
def test_an_interrupt_while_importing_is_one_line(after: float, tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", "print(flush=True); from sinkscope.__main__ import main; raise SystemExit(main())",
               "analyze", "demo", "--out", str(tmp_path / "out")]  # fmt: skip
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    process.stdout.readline()
    time.sleep(after)  # any moment will do
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 1
    said = [line for line in err.splitlines() if not line.startswith(("plan:", "progress:"))]
    assert said == ["sinkscope: interrupted"]
