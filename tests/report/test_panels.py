"""Panels of the analysis: what is marked, on which axes, and titles that say the answer."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from inspection import words
from synthetic import Shape, synthetic
from test_words import SMOLLM

from sinkscope.report.analysis import (
    extremes,
    gradient_sink,
    massive,
    pathways,
    reshaping,
    sink_heatmap,
    sink_rate,
    token_norms,
    value_drain,
)
from sinkscope.report.analysis.sink_words import second

RUN = synthetic(Shape())


def titles(page: object) -> list[str]:
    return [axes.get_title() for axes in page.axes if axes.get_title()]


def test_titles_say_the_answer() -> None:
    first = "Token 0 is a sink in layers 3 to 13"
    assert titles(sink_heatmap.ENTRY.draw(SMOLLM)) == [first, 'A later " the" or " " is a sink in layers 3 to 5']
    share = 100 * RUN["heads"].query("position == 0")["mass"].mean() / RUN.info["data"]["tokens"]
    assert titles(sink_rate.ENTRY.draw(RUN))[1].startswith(f"Token 0 collects {share:.2g} % of all attention")
    assert titles(massive.ENTRY.draw(SMOLLM)) == [
        "Token 0: channels 507 and 247 massive, up to 25,000",
        'Later tokens: none massive, up to 800 at " "',
    ]
    assert titles(value_drain.ENTRY.draw(RUN))[0].startswith("Values of token 0 are")
    assert titles(gradient_sink.ENTRY.draw(RUN))[1].replace("\n", " ").startswith("Gradients gather at token 0: ")
    largest = RUN["sites"].query("site in ['h_out', 'r_attn', 'r_mlp', 'down_in']").nlargest(1, "kurtosis").iloc[0]
    assert titles(extremes.ENTRY.draw(RUN))[2].endswith(f"in {largest['site']} of layer {largest['layer']}")


def test_a_channel_is_one_row_of_the_massive_page_and_no_row_or_column_of_it_is_empty() -> None:
    page = massive.ENTRY.draw(SMOLLM)
    for axes in page.axes:
        if axes.images and axes.get_label() != "<colorbar>":
            labels = [label.get_text() for label in axes.get_yticklabels()]
            assert len(set(labels)) == len(labels)
            sizes = np.ma.filled(axes.images[0].get_array(), np.nan)
            assert np.isfinite(sizes).any(axis=1).all()
    assert "Site Channels At Layers Seq. Largest" in words(page)


def test_second_sinks_are_marked_where_gradients_and_norms_show_them() -> None:
    upper = pathways.ENTRY.draw(SMOLLM).axes[0]
    (marks,) = [line for line in upper.lines if line.get_marker() == "v"]
    assert sorted(marks.get_xdata()) == sorted(
        p for p in second(SMOLLM)["position"].unique() if p <= upper.get_xlim()[1]
    )
    assert len(marks.get_xdata())
    places = second(SMOLLM)[["layer", "sequence", "position", "token"]].drop_duplicates()
    norms = places.assign(heads=2, norm=np.linspace(300, 900, len(places)), rank=2, positions=64)
    run = replace(SMOLLM, tables={**SMOLLM.tables, "sink_norms": pd.concat([SMOLLM["sink_norms"], norms])})
    (curve,) = [line for line in token_norms.ENTRY.draw(run).axes[0].lines if line.get_label() == "second sinks"]
    for layer, norm in enumerate(curve.get_ydata()):
        np.testing.assert_allclose(norm, norms.loc[norms["layer"] == layer, "norm"].mean())
    without = replace(RUN, tables={**RUN.tables, "sinks": RUN["sinks"].query("position == 0")})
    assert not any(
        line.get_marker() == "v" for line in pathways.ENTRY.draw(without).axes[0].lines if len(line.get_xdata())
    )


def test_a_line_of_slope_minus_one_stands_in_the_panels_of_compress() -> None:
    for number, axes in enumerate(reshaping.ENTRY.draw(RUN).axes):
        lines = [line for line in axes.lines if line.get_label() == "slope -1"]
        assert len(lines) == (number % 3 == 2)
        for line in lines:
            (left, right), (start, end) = line.get_xdata(), line.get_ydata()
            assert (end - start) / (right - left) == pytest.approx(-1)
            dots = np.concatenate(
                [np.column_stack(dots.get_data()) for dots in axes.lines if dots.get_linestyle() == "None"]
            )
            below = dots[:, 1] < start + left - dots[:, 0]
            assert below.mean() == pytest.approx(0.5, abs=0.02)


def test_violins_and_curve_of_the_gradient_sink_share_their_axis() -> None:
    left, right = gradient_sink.ENTRY.draw(RUN).axes
    assert left.get_ylim() == right.get_ylim()
    ratios = right.lines[1].get_ydata()
    np.testing.assert_allclose(10**ratios, RUN["layers"]["gradient_sink_ratio"])
    assert [text.get_text() for text in left.get_yticklabels()] == [text.get_text() for text in right.get_yticklabels()]
