"""A new quantity is one row: it then stands wherever quantities stand."""

import numpy as np
import pytest
from report.inspection import words
from report.synthetic import Shape, changed, synthetic

from sinkscope.comparison.compare_runs import compare_runs
from sinkscope.monitoring.logged import logged
from sinkscope.quantities import reference, rows
from sinkscope.quantities.quantity import Quantity, Threshold
from sinkscope.report.comparison import front_page, ratios
from sinkscope.report.comparison.sentences import outcomes
from sinkscope.report.comparison.terminal import summary
from sinkscope.report.plain import Plain
from sinkscope.tables.columns import frame
from sinkscope.tables.headline import headline
from sinkscope.tables.run_folder import Run
from sinkscope.tracking.appearances import appearances
from sinkscope.tracking.distill import distilled

NAME, TITLE = "sink_rate_min", "Sink rate (1), smallest layer"
MADE_UP = Quantity(
    NAME,
    TITLE,
    "sink rate of the layer that has the smallest",
    "1",
    short="smallest sink rate",
    over_layers=lambda values: values.by_layer("sink_rate").min(1),
    compared=90,
    front_page=True,
    monitored=90,
    threshold=Threshold("sinks in every layer", 0.001, "no layer is without a sink", place=90),
)
EPSILON = 0.3
SINKS_EVERYWHERE = 1.0


@pytest.fixture(autouse=True)
def _one_more_row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "QUANTITIES", (*rows.QUANTITIES, MADE_UP))


def analysis(seed: int = 0) -> Run:
    run = synthetic(Shape(3, 4, 2, sequences=6, seed=seed))
    layers = run["layers"].assign(sink_rate=[0.5, 0.25, SINKS_EVERYWHERE])
    tables = {**run.tables, "layers": layers}
    return changed(Run(run.info, tables), **headline(tables, EPSILON))


def test_it_stands_in_the_headline() -> None:
    assert analysis().info["headline"][NAME] == 0.25


def test_it_is_compared_with_an_interval_and_on_the_pages() -> None:
    compared = compare_runs([analysis(), analysis(1)], ["a", "b"], draws=200)
    table = compared["comparison"].set_index(["metric", "run"])
    row = table.loc[(NAME, "a")]
    assert row["low"] <= row["value"] <= row["high"]
    assert table.index.get_level_values("metric")[-1] == NAME
    assert "smallest layer" in words(front_page.ENTRY.draw(compared))
    labels = [label.get_text() for axes in ratios.ENTRY.draw(compared).axes for label in axes.get_yticklabels()]
    assert any("smallest" in label for label in labels)
    printed = summary(compared)
    assert isinstance(printed, Plain)
    assert TITLE in str(printed)
    equal = compare_runs([analysis(), analysis()], ["a", "b"], draws=200)
    assert "unchanged: " in outcomes(equal)[0]
    assert "; smallest sink rate" in outcomes(equal)[0]


def test_it_is_tracked_with_an_interval_and_its_appearance() -> None:
    track = frame("track", distilled(analysis(), 10)["track"])
    row = track.set_index("metric").loc[NAME]
    assert row["value"] == 0.25
    assert np.isfinite([row["low"], row["high"]]).all()
    found = appearances(track, EPSILON).set_index("phenomenon").loc["sinks in every layer"]
    assert (found["metric"], found["first_step"]) == (NAME, 10)


def test_it_is_monitored() -> None:
    assert logged(analysis())[NAME] == 0.25


def test_it_is_documented() -> None:
    assert f"| `{NAME}` | sink rate of the layer that has the smallest (1) |\n" in reference.headline_table()
    assert f"| `{NAME}` | {TITLE} | yes | yes |\n" in reference.metrics_table()
    assert f"- `{NAME}`: {TITLE}\n" in reference.monitored_list()
    assert f"| sinks in every layer | `{NAME}` >= 0.001 |" in reference.phenomena_table()


def test_one_that_no_resampling_reaches_need_not_be_in_the_headline(monkeypatch: pytest.MonkeyPatch) -> None:
    bare = Quantity("head_count", "Heads by count", over_tables=lambda run: len(run.first_heads), headline=False,
                    compared=95, monitored=95)  # fmt: skip
    monkeypatch.setattr(rows, "QUANTITIES", (*rows.QUANTITIES, bare))
    run = analysis()
    assert "head_count" not in run.info["headline"]
    assert logged(run)["head_count"] == 12
    row = frame("track", distilled(run, 0)["track"]).set_index("metric").loc["head_count"]
    assert row["value"] == 12
    assert np.isnan(row["low"])
    table = compare_runs([run, run], ["a", "b"], draws=200)["comparison"].set_index(["metric", "run"])
    assert table.loc[("head_count", "b"), "ratio"] == 1
