"""Charts show the tables' numbers under the pointer, and every figure that has one is a figure."""

import re
from dataclasses import replace

import numpy as np
import pytest
from synthetic import Shape, synthetic

from sinkscope.report.html.charts import large_entries
from sinkscope.report.html.charts.chart import shown
from sinkscope.report.html.charts.registry import CHARTS, chart_of
from sinkscope.report.html.packed import compact
from sinkscope.report.kinds import KINDS

RUN = synthetic(Shape(5, 3, 1, tokens=40, sequences=3))
SHAPES = [
    Shape(1, 1, 1, tokens=4, sequences=1),
    Shape(3, 2, 2, sinks=False, massive=False, backward=False),
    Shape(4, 4, 2, vscale=True, learned_sinks=True),
]


def test_charts_stand_beside_figures_that_there_are() -> None:
    for kind, figure in CHARTS:
        assert figure in {entry.name for entry in KINDS[kind].figures}


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_every_shape_of_run_has_its_charts(shape: Shape) -> None:
    run = synthetic(shape)
    for kind, figure in CHARTS:
        entry = next(entry for entry in KINDS[kind].figures if entry.name == figure)
        if entry.applies_to(run):
            chart = chart_of(run, figure)
            assert chart is not None
            assert chart.views
            assert compact({"views": chart.views, "layout": chart.layout})


def test_heads_show_alpha_and_their_other_sinks() -> None:
    chart = chart_of(RUN, "sink_heatmap")
    assert chart is not None
    (trace,) = chart.views["alpha at token 0"]
    first = RUN["heads"][RUN["heads"]["position"] == 0]
    for layer, head, alpha in first[["layer", "head", "alpha"]].itertuples(index=False):
        assert trace["z"][head][layer] == pytest.approx(alpha, rel=1e-3)
    (elsewhere,) = chart.views["sequences with a sink elsewhere"]
    others = RUN["sinks"][RUN["sinks"]["position"] > 0]
    for (layer, head), rows in others.groupby(["layer", "head"]):
        assert elsewhere["z"][head][layer] == pytest.approx(rows["sequence"].nunique() / 3, rel=1e-3)
        assert shown(rows.iloc[0]["token"]) in trace["text"][head][layer]


def test_norms_show_every_position_of_every_site() -> None:
    chart = chart_of(RUN, "token_norms")
    assert chart is not None
    assert next(iter(chart.views)) == "h_out"
    for site, (trace,) in chart.views.items():
        rows = RUN["positions"][RUN["positions"]["site"] == site]
        for layer, position, norm in rows[["layer", "position", "norm"]].itertuples(index=False):
            place = trace["y"].index(layer)
            assert trace["z"][place][position] == pytest.approx(np.log10(norm), abs=0.006)
            assert trace["text"][place][position].startswith(f"norm {norm:.4g}<br>")


def test_tokens_of_a_position_are_those_recorded_there() -> None:
    chart = chart_of(RUN, "token_norms")
    assert chart is not None
    (trace,) = chart.views["h_out"]
    at_zero = RUN["sinks"].loc[RUN["sinks"]["position"] == 0, "token"]
    assert shown(at_zero.iloc[0]) in trace["text"][0][0]


def test_entries_are_all_there_up_to_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    chart = chart_of(RUN, "massive_activations")
    assert chart is not None
    table = RUN["massive"]
    assert sum(len(trace["y"]) for trace in chart.views[""]) == int((table["value"] != 0).sum())
    massive = sum(symbol == "circle" for trace in chart.views[""] for symbol in trace["marker"]["symbol"])
    assert massive == int(table["is_massive"].sum())
    monkeypatch.setattr(large_entries, "POINTS", 7)
    fewer = large_entries.chart(RUN)
    points = sorted(point for trace in fewer.views[""] for point in trace["y"])
    assert points == pytest.approx(sorted(table["value"].abs().nlargest(7)), rel=1e-3)
    assert "The 7 largest of" in fewer.words


def test_ratios_are_those_of_the_table() -> None:
    chart = chart_of(RUN, "gradient_sink")
    assert chart is not None
    (line,) = chart.views[""]
    assert line["y"] == pytest.approx(RUN["layers"]["gradient_sink_ratio"].tolist(), rel=1e-3)


def test_markup_is_text_and_blanks_are_seen() -> None:
    evil = "<b>\u0120a & 'b'</b>"
    table = RUN["massive"].assign(token=evil)
    chart = large_entries.chart(replace(RUN, tables={**RUN.tables, "massive": table}))
    texts = [text for trace in chart.views[""] for text in trace["text"]]
    assert all(text.startswith("&lt;b&gt;\u2423a\u2423&amp;\u2423'b'&lt;/b&gt; at position") for text in texts)
    assert {tag for text in texts for tag in re.findall(r"<[^>]*>", text)} == {"<br>"}
