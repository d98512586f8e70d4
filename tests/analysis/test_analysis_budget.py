"""A budget chooses windows, by rates that the test sets; whoever resumes reads the same ones."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import tiny
import torch
from reference.models import tokens

import sinkscope
from sinkscope.analysis import run as api
from sinkscope.analysis.drivers.resident import Resident
from sinkscope.analysis.journal import Journal
from sinkscope.analysis.trial import PassTimes, Trial
from sinkscope.capture.settings import Settings
from sinkscope.cli import main
from sinkscope.errors import RequestError
from sinkscope.provenance.declared import KINDS

MEASURE = ["--positions", "16", "--early", "7", "--device", "cpu"]
SECOND = 1000.0  # tokens


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """A machine that computes so many tokens a second, and draws in no time; the clock stands still."""

    def rate(tokens_per_second: float) -> None:
        def at(_: Trial, tokens: int) -> PassTimes:
            return PassTimes(tokens / tokens_per_second, 0.0, 0.0, 0.0)

        monkeypatch.setattr(Trial, "at", at)

    monkeypatch.setattr("sinkscope.report.trial.seconds_to_draw", lambda _: 0.0)
    monkeypatch.setattr("sinkscope.analysis.windows_in_time.time.perf_counter", lambda: 0.0)
    rate(1.0)
    return rate


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return tiny.save(tiny.build("llama_gqa", max_position_embeddings=512), tmp_path / "model")


def analyzed(model: Path, out: Path, *arguments: str, code: int = 0) -> dict[str, Any]:
    assert main(["analyze", str(model), "--out", str(out), *MEASURE, *arguments]) == code
    return json.loads((out / "run.json").read_text()) if code == 0 else {}


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize(
    ("rate", "arguments", "sequences", "tokens", "chosen"),
    [
        (16, [], 1, 128, {"sequences": 1, "tokens": 128}),
        (128, [], 10, 128, {"sequences": 10, "tokens": 128}),
        (300, [], 11, 256, {"sequences": 11, "tokens": 256}),
        (300, ["--tokens", "200"], 15, 200, {"sequences": 15}),
        (300, ["--sequences", "4"], 4, 512, {"tokens": 512}),
        (1, ["--sequences", "1", "--tokens", "10"], 1, 10, {}),
    ],
)
def test_windows_fit_the_time(
    slow: Callable[[float], None],
    model: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    rate: float,
    arguments: list[str],
    sequences: int,
    tokens: int,
    chosen: dict[str, int],
) -> None:
    slow(rate)
    small = ["--positions", "8", "--early", "4"] if tokens < 16 else []
    info = analyzed(model, tmp_path / "run", "--budget", "10s", *arguments, *small)
    assert (info["data"]["sequences"], info["data"]["tokens"]) == (sequences, tokens)
    assert info["plan"]["budget"] == "10s"
    assert info["plan"]["chosen"] == chosen
    assert info["plan"]["tokens_per_second"] == pytest.approx(rate)
    assert info["plan"]["seconds"] <= 10
    line = capfd.readouterr().err.splitlines()[0]
    assert line.startswith("plan: resident, ")
    assert f"{sequences} sequence{'s' if sequences > 1 else ''} of {tokens} tokens: about" in line
    assert ("chosen for --budget 10s" if chosen else "within --budget 10s") in line
    declared = {key.name for key in KINDS["analysis"].keys if key.name.startswith("plan.")}
    assert {f"plan.{name}" for name in info["plan"]} == {name for name in declared if not name.endswith("*")}


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (
            ["--budget", "10s"],
            "--budget 10s is too short: 1 sequence of 128 tokens would take about 2.1 min: give it more, or ask for "
            "fewer --tokens, or leave gradients out with --no-backward",
        ),
        (
            ["--budget", "1m", "--sequences", "3"],
            "--budget 1m is too short: 3 sequences of 128 tokens would take about 6.4 min: give it more, or ask for "
            "fewer --tokens, or leave gradients out with --no-backward",
        ),
        (["--budget", "soon"], "--budget is a time, as 90s, 5m or 2h, not soon"),
    ],
)
@pytest.mark.usefixtures("slow")
def test_what_does_not_fit_is_refused_in_one_line(
    model: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], arguments: list[str], complaint: str
) -> None:
    analyzed(model, tmp_path / "run", *arguments, code=2)
    assert capfd.readouterr().err == f"sinkscope: {complaint}\n"
    assert not (tmp_path / "run").exists()


@pytest.mark.usefixtures("slow")
def test_what_is_left_out_already_is_no_way_out(model: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    analyzed(model, tmp_path / "run", "--budget", "0.001", "--no-backward", code=2)
    assert capfd.readouterr().err.endswith(": give it more, or ask for fewer --tokens\n")


def test_windows_in_memory_have_no_budget() -> None:
    with pytest.raises(RequestError, match="`budget` chooses windows of a text"):
        sinkscope.analyze(tiny.build("llama_gqa"), input_ids=tokens(1, 40), budget="5m")


@pytest.mark.usefixtures("undrawn")
def test_what_resumes_reads_the_windows_that_were_chosen(
    slow: Callable[[float], None], model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setattr(api, "Journal", partial(Journal, every=0.0))
    slow(100)
    budget = ["--budget", "10s"]
    whole = analyzed(model, tmp_path / "whole", *budget)
    real, passes = Resident._forward_backward, []

    def interrupted(self: Resident, *arguments: Any) -> list[float]:
        passes.append(1)
        if len(passes) == 4:
            raise KeyboardInterrupt
        return real(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(Resident, "_forward_backward", interrupted)
        analyzed(model, tmp_path / "run", *budget, code=1)
    assert (tmp_path / ".run.analysis").is_dir()
    slow(50)  # the machine has become slower: half as much would fit
    other = ["--budget", "20s", "--resume"]
    capfd.readouterr()
    analyzed(model, tmp_path / "run", *other, code=2)
    assert "has another chosen" in capfd.readouterr().err
    resumed = analyzed(model, tmp_path / "run", *budget, "--resume")
    assert resumed["data"] == whole["data"]
    assert resumed["plan"]["chosen"] == whole["plan"]["chosen"]
    for table in whole["tables"]:
        pd.testing.assert_frame_equal(
            pd.read_parquet(tmp_path / "run" / f"{table}.parquet"),
            pd.read_parquet(tmp_path / "whole" / f"{table}.parquet"),
        )


def test_a_library_without_a_display_measures_nothing_beforehand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Trial, "__init__", lambda *_: pytest.fail("tried"))
    analysis = sinkscope.analyze(
        tiny.build("llama_gqa"), input_ids=tokens(1, 40), settings=Settings(early=7, positions=16)
    )
    assert "plan" not in analysis.info
    assert torch.is_grad_enabled()
