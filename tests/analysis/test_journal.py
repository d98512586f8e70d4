"""Killed at any moment, also while it saves, an analysis resumes to bit-identical tables."""

import os
import random
import signal
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import families
import pandas as pd
import pytest
import tiny
import torch
from forks import Server
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
from sinkscope.files.sealed import read_sealed, seal
from sinkscope.tables.run_folder import Run, read_run
from sinkscope.vscale.attach import attach_

SEQUENCES = 7
SETTINGS = Settings(sink_epsilon=0.04, sink_window=8, early=7, positions=16)
IDS = torch.randint(2, 258, (SEQUENCES, 24), generator=torch.Generator().manual_seed(0))
MODELS: dict[str, Callable[[], PreTrainedModel]] = {
    "valved": lambda: attach_(tiny.build("llama_gqa")),
    "experts": lambda: families.tiny("gpt_oss"),  # and learned sinks
}
REQUEST: dict[str, Any] = {"model": {"name": "x", "dtype": "float32"}, "batch_size": 1}


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
def test_kills_change_nothing(forks: Server, tiny_folders: dict[str, Path], tmp_path: Path) -> None:
    whole, cut, torn = tmp_path / "whole", tmp_path / "cut", tmp_path / "torn"
    text = tmp_path / "text.txt"
    text.write_text("".join(f"line {n} of {n * n}, " for n in range(40)))

    def attempt(out: Path, mode: str = "never", at: int = 0, *, resume: bool = False) -> int:
        model = str(tiny_folders["llama_gqa"])
        run = forks.start("victims:strikes_at_a_save", model, str(text), str(out), mode, at, resume)
        code = run.wait()
        assert "Traceback" not in run.err, run.err
        return code

    assert attempt(whole) == 0
    chance = random.Random(1)
    for _ in range(5):
        assert attempt(cut, chance.choice(["during", "after"]), chance.randint(1, 2), resume=True) == -signal.SIGKILL
    assert attempt(cut, resume=True) == 0
    assert attempt(torn, "during", 3) == -signal.SIGKILL
    same(read_run(whole), read_run(cut))
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        ".torn.analysis",
        ".torn.lock",
        "cut",
        "text.txt",
        "whole",
    ]

    folder = tmp_path / ".torn.analysis"
    assert len(list(folder.glob(".state-0.pt.*"))) == 1  # the half of the third state
    request = read_sealed(folder / "request.json")
    assert request is not None
    journal = Journal(torn, request, resume=True, force=False)
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


@pytest.mark.usefixtures("undrawn")
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
    assert main([*arguments, *out, "--resume", "--quantize", "w8"]) == 2
    assert "has another model.method, model.quantization:" in capfd.readouterr().err
    assert main([*arguments, *out, "--resume"]) == 0
    assert passes == 5
    assert main([*arguments, "--out", str(tmp_path / "whole")]) == 0
    same(read_run(tmp_path / "whole"), read_run(tmp_path / "cut"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cut", "whole"]


@pytest.mark.usefixtures("undrawn")
def test_another_calibration_is_another_request(
    tiny_folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    for name, text in (("one.txt", "some text to calibrate on, "), ("two.txt", "another one, read in its place; ")):
        (tmp_path / name).write_text(10 * text)
    arguments = ["analyze", str(tiny_folders["llama_gqa"]), "--sequences", "3", "--tokens", "16", "--sink-window", "8",
                 "--early", "7", "--positions", "16", "--out", str(tmp_path / "run"), "--device", "cpu"]  # fmt: skip
    one, two = (
        [*arguments, "--quantize", "a4-static", "--calibration-data", str(tmp_path / name)]
        for name in ("one.txt", "two.txt")
    )
    forward_backward = Resident._forward_backward

    def interrupted(self: Resident, *given: Any) -> list[float]:
        os.kill(os.getpid(), signal.SIGINT)
        return forward_backward(self, *given)

    monkeypatch.setattr(Resident, "_forward_backward", interrupted)
    assert main(one) == 1
    monkeypatch.setattr(Resident, "_forward_backward", forward_backward)
    capfd.readouterr()
    assert main([*two, "--resume"]) == 2
    refusal = capfd.readouterr().err
    assert "has another model.method.calibration.sha256, model.method.calibration.source:" in refusal
    assert main([*one, "--resume"]) == 0
    (tmp_path / "run").rename(tmp_path / "resumed")
    assert main(one) == 0
    same(read_run(tmp_path / "run"), read_run(tmp_path / "resumed"))


@pytest.mark.usefixtures("undrawn")
def test_the_same_tokens_cut_otherwise_are_another_request(
    tiny_folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    fixed = ["--bos", "never", "--sink-window", "8", "--early", "7", "--positions", "16", "--device", "cpu"]
    start = ["analyze", str(tiny_folders["llama_gqa"]), *fixed, "--out", str(tmp_path / "run")]

    forward_backward = Resident._forward_backward

    def interrupted(self: Resident, *given: Any) -> list[float]:
        os.kill(os.getpid(), signal.SIGINT)
        return forward_backward(self, *given)

    with monkeypatch.context() as patch:
        patch.setattr(Resident, "_forward_backward", interrupted)
        assert main([*start, "--sequences", "4", "--tokens", "32"]) == 1
    capfd.readouterr()
    assert main([*start, "--sequences", "8", "--tokens", "16", "--resume"]) == 2
    assert "has another shape:" in capfd.readouterr().err
    assert main([*start, "--sequences", "4", "--tokens", "32", "--resume"]) == 0


def test_another_request_is_named(tmp_path: Path) -> None:
    Journal(tmp_path / "run", REQUEST, resume=False, force=False).save(Recorder(SETTINGS, 2), 1, [1.0], force=True)
    with pytest.raises(SinkscopeError, match="`resume` to go on with it, `force` to start anew"):
        Journal(tmp_path / "run", REQUEST, resume=False, force=False)
    other = {**REQUEST, "model": {"name": "x", "dtype": "bfloat16"}}
    with pytest.raises(SinkscopeError, match=r"has another model\.dtype: resume with the same, or `force`"):
        Journal(tmp_path / "run", other, resume=True, force=False)
    assert Journal(tmp_path / "run", other, resume=False, force=True).load() is None
    assert not list(tmp_path.iterdir())


def test_a_planted_link_is_not_written_through(tmp_path: Path) -> None:
    (tmp_path / "victim").mkdir()
    (tmp_path / ".run.analysis").symlink_to(tmp_path / "victim", target_is_directory=True)
    with pytest.raises(SinkscopeError, match="is a link"):
        Journal(tmp_path / "run", REQUEST, resume=True, force=False)
    Journal(tmp_path / "run", REQUEST, resume=False, force=True).save(Recorder(SETTINGS, 2), 1, [1.0], force=True)
    assert not list((tmp_path / "victim").iterdir())
    assert not (tmp_path / ".run.analysis").is_symlink()


def test_a_damaged_request_is_named(tmp_path: Path) -> None:
    Journal(tmp_path / "run", REQUEST, resume=False, force=False).save(Recorder(SETTINGS, 2), 1, [1.0], force=True)
    for damaged in ("", "{", "[1]", "{}", "7"):
        (tmp_path / ".run.analysis" / "request.json").write_text(damaged)
        with pytest.raises(SinkscopeError, match=r"request\.json is damaged.*`force` to start anew"):
            Journal(tmp_path / "run", REQUEST, resume=True, force=False)
    assert not Journal(tmp_path / "run", REQUEST, resume=False, force=True).begun


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
        with pytest.raises(SinkscopeError, match=r"state-0\.pt is damaged.*: `force` to start anew"):
            journal.load()
    for place in (0, len(whole) // 2, len(whole) - 1):  # a byte of what is kept, or of its hash
        flipped = bytearray(whole)
        flipped[place] ^= 0x55
        state.write_bytes(flipped)
        with pytest.raises(SinkscopeError, match="is damaged"):
            journal.load()
    state.write_bytes(whole)
    assert journal.load() is not None
    torch.save({"state": {}, "done": Runs(tmp_path / "ran"), "losses": [], "tensors": {}}, state)
    with pytest.raises(SinkscopeError, match="is damaged"):
        journal.load()
    seal(state)
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
