"""Killed at any moment, also while it saves, an analysis resumes to bit-identical tables."""

import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import families
import pandas as pd
import pytest
import tiny
import torch
from torch import Tensor
from transformers import PreTrainedModel

from sinkscope.analysis import run as api
from sinkscope.analysis.drivers.resident import Resident
from sinkscope.analysis.journal import Journal, restore
from sinkscope.analysis.measure import measure
from sinkscope.capture.recorded import Recorded
from sinkscope.capture.recorder import Recorder
from sinkscope.capture.settings import Settings
from sinkscope.capture.statistics.statistic import Statistic, every_statistic
from sinkscope.cli import main
from sinkscope.errors import SinkscopeError
from sinkscope.files import read_json
from sinkscope.tables.run_folder import Run, read_run
from sinkscope.vscale.attach import attach_

ROOT = Path(__file__).parents[2]
SEQUENCES = 7
SETTINGS = Settings(sink_epsilon=0.04, sink_window=8, early=7, positions=16)
IDS = torch.randint(2, 258, (SEQUENCES, 24), generator=torch.Generator().manual_seed(0))
MODELS: dict[str, Callable[[], PreTrainedModel]] = {
    "valved": lambda: attach_(tiny.build("llama_gqa")),
    "experts": lambda: families.tiny("gpt_oss"),  # and learned sinks
}
REQUEST: dict[str, Any] = {"model": {"name": "x", "dtype": "float32"}, "batch_size": 1}

# Analyzes again and again in children of one process, each of which kills itself at a save: `during` it, with half of
# the file written, or `after` it. The report is left out, for time.
DIES = """
import os, signal, sys
from contextlib import contextmanager
from pathlib import Path
from sinkscope.analysis import run as api
from sinkscope.analysis import journal
from sinkscope.capture.settings import Settings
from sinkscope.tables.run_folder import write_run
from sinkscope.files import building_file

def child(out, mode, at, resume):
    saves = [0]
    @contextmanager
    def strikes(place):
        saves[0] += 1
        with building_file(place) as building:
            yield building
            if (mode, saves[0]) == ("during", at):
                os.truncate(building, building.stat().st_size // 2)
                os.kill(os.getpid(), signal.SIGKILL)
        if (mode, saves[0]) == ("after", at):
            os.kill(os.getpid(), signal.SIGKILL)
    journal.building_file = strikes
    journal.Journal.__init__.__kwdefaults__["every"] = 0.0
    settings = Settings(sink_epsilon=0.04, sink_window=8, early=7, positions=16)
    options = {"data": sys.argv[2], "sequences": 7, "tokens": 24, "settings": settings}
    analysis = api.analyze(sys.argv[1], **options, out=out, resume=resume)
    write_run(analysis.run, Path(out))
    analysis.saved()

for attempt in sys.argv[3:]:
    out, mode, at, resume = attempt.split(",")
    number = os.fork()
    if not number:
        child(out, mode, int(at), resume == "resume")
        os._exit(0)
    print(-os.waitpid(number, 0)[1])
"""


def attempts(model: Path, text: Path, *these: tuple[Path, str, int, str]) -> list[int]:
    """Analyzes, saving after every micro-batch; says which signal ended each attempt, negative, or 0."""
    command = [sys.executable, "-c", DIES, str(model), str(text), *(",".join(map(str, attempt)) for attempt in these)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return [int(line) for line in done.stdout.split()]


def same(one: Run, other: Run) -> None:
    assert one.tables.keys() == other.tables.keys()
    for name, table in one.tables.items():
        pd.testing.assert_frame_equal(table, other[name], check_exact=True)


def measured(driver: Resident, journal: Journal | None = None) -> Run:
    return measure(driver.model, IDS, settings=SETTINGS, batch_size=2, journal=journal, driver=driver)


class Stops(Resident):
    """Fails at a micro-batch, after its forward and backward pass."""

    def __init__(self, name: str, at: int) -> None:
        super().__init__(MODELS[name]())
        self.left = at

    def _forward_backward(self, *arguments: Any) -> list[float]:
        losses = super()._forward_backward(*arguments)
        self.left -= 1
        if not self.left:
            raise RuntimeError("stopped")
        return losses


@pytest.mark.slow
def test_kills_change_nothing(tiny_folders: dict[str, Path], tmp_path: Path) -> None:
    whole, cut, torn = tmp_path / "whole", tmp_path / "cut", tmp_path / "torn"
    text = tmp_path / "text.txt"
    text.write_text("".join(f"line {n} of {n * n}, " for n in range(40)))
    chance = random.Random(1)
    kills = [(cut, chance.choice(["during", "after"]), chance.randint(1, 2), "resume") for _ in range(5)]
    ended = attempts(
        tiny_folders["llama_gqa"],
        text,
        (whole, "never", 0, ""),
        *kills,
        (cut, "never", 0, "resume"),
        (torn, "during", 3, ""),
    )
    assert ended == [0, *[-signal.SIGKILL] * 5, 0, -signal.SIGKILL]
    same(read_run(whole), read_run(cut))
    assert sorted(path.name for path in tmp_path.iterdir()) == [".torn.analysis", "cut", "text.txt", "whole"]

    folder = tmp_path / ".torn.analysis"
    assert len(list(folder.glob(".state-0.pt.*"))) == 1  # the half of the third state
    journal = Journal(torn, read_json(folder / "request.json"), resume=True, force=False)
    saved = journal.load()
    assert saved is not None
    assert (saved.done, len(saved.losses)) == (2, 2)
    assert not list(folder.glob(".state-0.pt.*"))


@pytest.mark.parametrize(("name", "at"), [("valved", 1), ("valved", 4), ("experts", 2)])
def test_every_statistic_comes_back_exactly(tmp_path: Path, name: str, at: int) -> None:
    with pytest.raises(RuntimeError, match="stopped"):
        measured(Stops(name, at), Journal(tmp_path / "run", REQUEST, resume=False, force=False, every=0))
    journal = Journal(tmp_path / "run", REQUEST, resume=True, force=False, every=0)
    assert journal.begun == (at > 1)
    resumed = Stops(name, -1)
    same(measured(Stops(name, -1)), measured(resumed, journal))
    assert resumed.left == -1 - (5 - at)  # what was saved was not run again
    journal.discard()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", MODELS)
def test_everything_a_recorder_holds_is_a_statistic_that_merges(tmp_path: Path, name: str) -> None:
    driver = Stops(name, 0)
    journal = Journal(tmp_path / "run", REQUEST, resume=False, force=False, every=0)
    measured(driver, journal)
    saved = journal.load()
    assert saved is not None
    recorder = Recorder(SETTINGS, 3)
    restore(recorder, saved)
    kept = [kept for kept in vars(recorder).values() if isinstance(kept, dict)]
    statistics = [statistic for of_kind in kept for statistic in of_kind.values()]
    assert statistics
    assert all(isinstance(one, Statistic) and type(one).merge is not Statistic.merge for one in statistics)


def test_a_recorder_keeps_nothing_that_is_not_stored() -> None:
    """Whatever accumulates is a field of `Recorded`; all else of a recorder is said when it is made."""
    recorder = Recorder(SETTINGS, 3)
    accumulating = {name for name, value in vars(recorder).items() if isinstance(value, dict | list)}
    assert accumulating == set(recorder.state()) == {one.name for one in fields(Recorded)}


def test_a_state_with_other_fields_is_refused() -> None:
    state = Recorder(SETTINGS, 3).state()
    others = {**state, "more": {}}, {name: kept for name, kept in state.items() if name != "routing"}
    for other in others:
        for take in (Recorder(SETTINGS, 3).restore, Recorder(SETTINGS, 3).merge):
            with pytest.raises(SinkscopeError, match="another version of sinkscope: `force`"):
                take(other)


def test_nothing_is_written_before_it_is_time(tmp_path: Path) -> None:
    measured(Stops("valved", 0), Journal(tmp_path / "run", REQUEST, resume=False, force=False))
    assert not list(tmp_path.iterdir())


def test_ctrl_c_saves_whole_micro_batches(
    tiny_folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    passes = 0
    forward_backward = Resident._forward_backward

    def interrupted(self: Resident, *arguments: Any) -> list[float]:
        nonlocal passes
        passes += 1
        if passes == 3:
            os.kill(os.getpid(), signal.SIGINT)
        return forward_backward(self, *arguments)

    monkeypatch.setattr(Resident, "_forward_backward", interrupted)
    monkeypatch.setattr("sinkscope.report.render.render", lambda *_: None)  # for time
    arguments = ["analyze", str(tiny_folders["llama_gqa"]), "--sequences", "5", "--tokens", "16", "--sink-window", "8",
                 "--early", "7", "--positions", "16"]  # fmt: skip
    out = ["--out", str(tmp_path / "cut")]
    assert main([*arguments, *out]) == 1
    said = capfd.readouterr()
    assert said.out == ""
    assert said.err.splitlines()[-1] == "sinkscope: interrupted: the same command with --resume goes on from here"
    assert main([*arguments, *out]) == 2
    assert "an unfinished analysis" in capfd.readouterr().err
    assert main([*arguments, *out, "--resume", "--batch-size", "2"]) == 2
    assert "has another batch_size:" in capfd.readouterr().err
    assert main([*arguments, *out, "--resume"]) == 0
    assert passes == 5
    assert main([*arguments, "--out", str(tmp_path / "whole")]) == 0
    same(read_run(tmp_path / "whole"), read_run(tmp_path / "cut"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cut", "whole"]


def test_another_request_is_named(tmp_path: Path) -> None:
    Journal(tmp_path / "run", REQUEST, resume=False, force=False).save(Recorder(SETTINGS, 2), 1, [1.0], force=True)
    with pytest.raises(SinkscopeError, match="`resume` to go on with it, `force` to start anew"):
        Journal(tmp_path / "run", REQUEST, resume=False, force=False)
    other = {**REQUEST, "model": {"name": "x", "dtype": "bfloat16"}}
    with pytest.raises(SinkscopeError, match=r"has another model\.dtype: resume with the same, or `force`"):
        Journal(tmp_path / "run", other, resume=True, force=False)
    assert Journal(tmp_path / "run", other, resume=False, force=True).load() is None
    assert not list(tmp_path.iterdir())


def test_a_damaged_state_and_one_that_would_run_code_are_refused(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "run", REQUEST, resume=False, force=False)
    journal.save(Recorder(SETTINGS, 2), 1, [1.0], {"x": torch.ones(2)}, force=True)
    saved = journal.load()
    assert saved is not None
    assert isinstance(saved.tensors["x"], Tensor)
    state = tmp_path / ".run.analysis" / "state-0.pt"
    whole = state.read_bytes()
    for damaged in (whole[:-100], b"", b"no state"):
        state.write_bytes(damaged)
        with pytest.raises(SinkscopeError, match="cannot be read: `force` to start anew"):
            journal.load()
    torch.save({"state": {}, "done": Runs(tmp_path / "ran"), "losses": [], "tensors": {}}, state)
    with pytest.raises(SinkscopeError, match="cannot be read"):
        journal.load()
    assert not (tmp_path / "ran").exists()


class Runs:
    """Makes a folder when it is unpickled carelessly."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)


def test_a_loaded_model_keeps_no_state(tmp_path: Path) -> None:
    with pytest.raises(SinkscopeError, match="name its folder"):
        api.analyze(tiny.build("llama_gqa"), input_ids=IDS, out=tmp_path / "run")


def test_every_kind_of_statistic_merges() -> None:
    kinds = list(every_statistic())
    assert len(kinds) > 10
    assert [kind.__name__ for kind in kinds if kind.merge is Statistic.merge] == []
