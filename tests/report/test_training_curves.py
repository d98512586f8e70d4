"""The page of a finetuning's loss: both trainings, their difference, and where held-out losses begin."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from inspection import assert_legible
from test_comparison_report import RUNS

from sinkscope.report.comparison import training
from sinkscope.report.kinds import KINDS
from sinkscope.report.render import entries
from sinkscope.tables.builder import Rows
from sinkscope.tables.run_folder import Run

STEPS = 8


def losses(*runs: tuple[str, float, float]) -> pd.DataFrame:
    """Straight curves of runs (name, held-out loss at the first step, at the last), and one of a model untrained."""
    rows = Rows("training_losses")
    for name, first, last in runs:
        held = np.linspace(first, last, STEPS + 1)
        held[1::2] = np.nan
        rows.add(run=name, step=np.arange(STEPS + 1), loss=np.append(np.linspace(first, last, STEPS), np.nan),
                 valid_loss=held)  # fmt: skip
    return rows.frame()


def run_with(table: pd.DataFrame) -> Run:
    """`run 0` is a model as it was, `run 1` the same with V-scale."""
    return Run(RUNS["two"].info, {**RUNS["two"].tables, "training_losses": table})


def test_both_trainings_and_their_difference_are_drawn() -> None:
    page = training.ENTRY.draw(run_with(losses(("run 0", 3.0, 2.0), ("run 1", 3.5, 2.2))))
    upper, lower = page.axes
    assert upper.get_title() == f"Held-out loss after {STEPS} steps: 2.000 (run 0) and 2.200 (run 1)"
    key = [text.get_text() for text in upper.get_legend().get_texts()]
    assert key[:2] == ["1 run 0: 3.000\nbefore training", "2 run 1: 3.500\nright after attaching V-scale"]
    difference, held, _ = lower.lines
    np.testing.assert_allclose(difference.get_ydata()[:-1], np.linspace(0.5, 0.2, STEPS))
    np.testing.assert_allclose(held.get_ydata(), np.linspace(0.5, 0.2, STEPS + 1)[::2])
    assert (upper.get_ylabel(), lower.get_ylabel()) == (
        "loss\n(nats per token)",
        "difference of the loss\n(nats per token)",
    )
    assert lower.get_xlabel() == "optimizer steps done"


def test_without_a_control_the_loss_before_is_a_line_to_hold_it_against() -> None:
    rows = losses(("run 0", 3.0, 2.0), ("run 1", 3.5, 2.2))
    (axes,) = training.ENTRY.draw(run_with(rows[(rows["run"] == "run 1") | (rows["step"] == 0)])).axes
    assert [line.get_ydata()[0] for line in axes.lines if line.get_linestyle() == ":"] == [3.0]


def test_the_page_is_legible_and_older_runs_do_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(KINDS, "comparison", replace(KINDS["comparison"], figures=(training.ENTRY,)))
    assert_legible(run_with(losses(("run 0", 30.0, 2.0), ("run 1", 3.5, 2.2))))
    assert entries(RUNS["two"]) == []
