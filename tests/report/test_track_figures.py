"""Every page of every shape of track: drawn without a warning, legible, with nothing clipped or overlapping."""

from collections.abc import Callable
from functools import cache

import pytest
from inspection import assert_legible
from synthetic import Shape
from synthetic_track import synthetic_track

from sinkscope.report.render import figures
from sinkscope.report.text import NOT_MEASURED
from sinkscope.report.tracking import evolution
from sinkscope.report.tracking.sentences import appearance_cells, progress_cells, sentences
from sinkscope.report.tracking.steps import chosen, step_text
from sinkscope.report.tracking.terminal import Summary
from sinkscope.tables.run_folder import Run

FAILED = [{"name": "checkpoint-" + "9" * 60, "reason": "not a whole safetensors file: " + "$x$ " * 60}] * 5
RUNS: dict[str, Callable[[], Run]] = {
    "usual": cache(lambda: synthetic_track(Shape(vscale=True))),
    "one": lambda: synthetic_track(Shape(1, 1, 1, tokens=8, sequences=1), (500,), failed=FAILED),
    "two_forward_only": lambda: synthetic_track(Shape(2, 2, 1, tokens=20, backward=False), (100, 200)),
    "linear": lambda: synthetic_track(Shape(12, 8, 4), tuple(range(1000, 8000, 1000)), failed=FAILED),
}


@pytest.mark.parametrize("name", RUNS)
def test_pages_are_legible(name: str) -> None:
    run = RUNS[name]()
    assert_legible(run)
    assert str(Summary(run))


@pytest.mark.slow
def test_pages_of_a_long_run_are_legible() -> None:
    assert_legible(synthetic_track(Shape(48, 4, 2, tokens=48, vscale=True), (0, 1, *range(1000, 143_000, 2000))))


def test_pages_follow_what_was_measured() -> None:
    assert "theta" in figures(RUNS["usual"]())
    forward = figures(RUNS["two_forward_only"]())
    assert set(forward) == {"overview", "evolution", "layers", "provenance"}


def test_sentences_tell_order_ties_and_failures() -> None:
    run = RUNS["usual"]()
    text = " ".join(sentences(run))
    assert "attention sink (after step 2, by step 4)" in text
    assert "large residual norm, extreme activations and massive activations (after step 8, by step 16" in text
    assert "order among them undecided" in text
    assert "5 checkpoints: checkpoint-999" in " ".join(sentences(RUNS["linear"]()))


def test_what_was_there_at_the_first_checkpoint_has_no_order() -> None:
    """R_GS is large in every stage of the made-up training: it was never seen to appear."""
    run = RUNS["usual"]()
    text = " ".join(sentences(run))
    assert "Present from the first checkpoint, so without an order: gradient sink." in text
    assert "Order of appearance: attention sink" in text
    by_name = {cells[0]: cells for cells in appearance_cells(run)}
    assert by_name["gradient sink"][2] == "present from the first checkpoint, step 0"
    assert by_name["gradient sink"][4] == "-"
    assert by_name["attention sink"][4] == "1"


def test_checkpoints_of_the_same_weights_are_named() -> None:
    """A finished model under two steps: nothing appears between them, and nothing gets an order."""
    run = synthetic_track(Shape(3, 4, 2), steps=(1, 2))
    listed = [{**checkpoint, "weights_sha256": "a" * 64} for checkpoint in run.info["checkpoints"]]
    text = " ".join(sentences(Run({**run.info, "checkpoints": listed}, run.tables)))
    assert "The checkpoints of steps 1 and 2 have the same weights: nothing changed between them." in text
    assert "Order of appearance" not in text
    assert run["appearances"]["rank"].isna().all()


def test_numbers_are_those_of_the_table() -> None:
    run = RUNS["usual"]()
    header, rows = progress_cells(run)
    assert (header[1], header[-1]) == ("step 0", "step 2,000")
    shown = {row[0]: row[-1] for row in rows}
    last = run["track"][run["track"]["step"] == 2000].set_index("metric")["value"]
    assert shown["Massive activations (5), entries"] == f"{int(last['massive_count']):,}"
    assert float(shown["Loss [nats per token]"]) == pytest.approx(last["loss"], rel=5e-3)


def test_steps_are_logarithmic_only_where_they_span_decades() -> None:
    assert evolution.ENTRY.draw(RUNS["usual"]()).axes[0].get_xscale() == "symlog"
    assert evolution.ENTRY.draw(RUNS["linear"]()).axes[0].get_xscale() == "linear"


@pytest.mark.parametrize(
    ("step", "text"),
    [(0, "0"), (512, "512"), (1000, "1k"), (1500, "1.5k"), (20_000, "20k"), (143_000, "143k"), (3e6, "3M")],
)
def test_steps_in_a_few_letters(step: float, text: str) -> None:
    assert step_text(step) == text


def test_chosen_checkpoints_hold_both_ends() -> None:
    assert chosen(range(100), 6)[0] == 0
    assert chosen(range(100), 6)[-1] == 99
    assert chosen([3, 5], 6) == [3, 5]


def test_a_number_that_one_checkpoint_lacks_is_not_measured_there() -> None:
    run = synthetic_track(Shape(vscale=True))
    table = run["track"]
    first = table["step"].min()
    fewer = table[(table["metric"] != "theta_mean") | (table["step"] != first)]
    _, rows = progress_cells(Run(run.info, {**run.tables, "track": fewer}))
    cells = next(row for row in rows if row[0].startswith("theta"))
    assert cells[1] == NOT_MEASURED
    assert NOT_MEASURED not in cells[2:]
