"""Every figure of every shape of run: drawn without a warning, legible, with nothing clipped or overlapping."""

import pytest
from inspection import assert_legible, clipped, drawn_texts, over_panels, overlapping, words
from synthetic import Shape, synthetic

from sinkscope.report.analysis import front_page as verdict
from sinkscope.report.analysis import massive, sink_heatmap, value_drain
from sinkscope.report.analysis.pages import REGISTRY
from sinkscope.report.entry import Entry
from sinkscope.report.page import Page
from sinkscope.report.render import entries

AWKWARD = "/folder/" + "averylongname" * 12 + "/$x$ \u6f22\nname"
RUNS = {
    "small": synthetic(Shape()),
    "one_head": synthetic(Shape(1, 1, 1, tokens=8, sequences=1, sinks=False, massive=False), name=AWKWARD),
    "two_tokens": synthetic(Shape(2, 2, 1, tokens=2, sequences=1), name="meta-llama/Llama-3.1-8B"),
    "mixture": synthetic(Shape(experts=8, learned_sinks=True, images=True)),
    "small_mixture": synthetic(
        Shape(2, 1, 1, tokens=8, sequences=1, sinks=False, massive=False, experts=1, learned_sinks=True, images=True)
    ),
    "forward_only": synthetic(Shape(12, 8, 4, tokens=20, backward=False)),
}
LARGE = {
    "large": Shape(32, 32, 8, tokens=256),
    "vscale": Shape(80, 64, 8, tokens=160, vscale=True, massive=False),
    "largest": Shape(126, 128, 8, tokens=128, sequences=2),
    "large_mixture": Shape(61, 64, 8, tokens=256, experts=256, learned_sinks=True, images=True),
}


@pytest.mark.parametrize("name", RUNS)
def test_pages_are_legible(name: str) -> None:
    assert_legible(RUNS[name])


@pytest.mark.slow
@pytest.mark.parametrize("name", LARGE)
def test_pages_of_large_models_are_legible(name: str) -> None:
    assert_legible(synthetic(LARGE[name]))


def test_gradient_pages_are_left_out_and_page_one_says_so() -> None:
    run = RUNS["forward_only"]
    left_out = {entry.name for entry in REGISTRY} - {entry.name for entry in entries(run)}
    assert left_out == {entry.name for entry in REGISTRY if entry.needs_backward or not entry.applies(run)}
    assert "left out" in words(verdict.ENTRY.draw(run))
    assert "left out" not in words(verdict.ENTRY.draw(RUNS["small"]))


def test_empty_tables_are_said_in_a_sentence() -> None:
    assert "no sink" in words(sink_heatmap.ENTRY.draw(RUNS["one_head"]))
    assert "No entry passes the binary test" in words(massive.ENTRY.draw(RUNS["one_head"]))


@pytest.mark.parametrize("entry", REGISTRY, ids=lambda entry: entry.name)
def test_every_axis_is_labelled_where_something_is_plotted(entry: Entry) -> None:
    page = entry.draw(RUNS["mixture"])
    drawn = [axes for axes in page.axes if axes.axison and axes.get_label() != "<colorbar>"]
    cells = [(axes, axes.get_subplotspec().rowspan.start, axes.get_subplotspec().colspan.start) for axes in drawn]
    assert {row for _, row, _ in cells} == {row for axes, row, _ in cells if axes.get_ylabel()}
    assert {column for _, _, column in cells} == {column for axes, _, column in cells if axes.get_xlabel()}


def test_the_inspection_sees_what_is_wrong() -> None:
    page = Page()
    axes = page.subplots()
    page.text(0.5, 0.5, "over the panel")
    page.text(0.5, 0.5, "over the other")
    page.text(0.98, 0.98, "over the edge")
    axes.plot([0, 1])
    texts = drawn_texts(page)
    assert clipped(page, texts) == ["over the edge"]
    assert overlapping(texts) == [("over the panel", "over the other")]
    assert over_panels(page) == ["over the panel", "over the other"]


def test_colours_of_theta_reach_as_far_as_theta() -> None:
    """After a short training theta is a few thousandths; a fixed scale would draw a blank page."""
    run = synthetic(Shape(vscale=True))
    run.tables["vscale"]["theta"] *= 0.004
    page = value_drain.ENTRY.draw(run)
    limits = [image.get_clim()[1] for axes in page.axes for image in axes.images]
    assert min(limits) == pytest.approx(run.tables["vscale"]["theta"].abs().max())
