"""Figures alone: at the widths of a paper nothing of them overlaps, is clipped, or has page furniture."""

from collections.abc import Mapping
from pathlib import Path

import pytest
import test_comparison_report as comparisons
import test_figures as analyses
from html_runs import EVIL, RUNS
from inspection import clipped, drawn_texts, over_panels, overlapping
from matplotlib.text import Text

import sinkscope
from sinkscope.errors import RequestError
from sinkscope.report import style
from sinkscope.report.figure.files import write_figures
from sinkscope.report.figure.made import COLUMN, TEXT, alone, drawable, figure, paged
from sinkscope.report.notebook import notebook_html
from sinkscope.report.render import render
from sinkscope.report.written import latex, markdown
from sinkscope.tables.run_folder import Run

SMALLEST = 6.9  # points


def assert_fit_to_print(run: Run, name: str, width: float) -> None:
    (entry,) = [entry for entry in drawable(run) if entry.name == name]
    page = alone(entry, run, width)
    with style.drawing():
        texts = drawn_texts(page)
        assert (clipped(page, texts), overlapping(texts), over_panels(page)) == ([], [], [])
        sizes = [text.get_fontsize() for text in page.findobj(Text) if text.get_text() and text.get_visible()]
    assert min(sizes) >= SMALLEST
    assert page.get_figwidth() == pytest.approx(width)
    written = {text for text, _ in texts}
    assert entry.caption not in written
    assert not any("sinkscope" in text and "page" in text for text in written)


@pytest.mark.parametrize("width", [COLUMN, TEXT])
@pytest.mark.parametrize("name", ["chain", "extremes", "massive_activations"])
def test_figures_fit_to_print(name: str, width: float) -> None:
    assert_fit_to_print(analyses.RUNS["small"], name, width)


EVERY = {
    **{f"analysis-{name}": run for name, run in analyses.RUNS.items()},
    **{f"comparison-{name}": run for name, run in comparisons.RUNS.items()},
    **RUNS,
}


def of(runs: Mapping[str, Run]) -> list[tuple[str, str]]:
    """Every figure of some runs: the run and its name."""
    return [(kind, entry.name) for kind, run in runs.items() for entry in drawable(run)]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "name", "width"),
    # Every run at the narrow width, which is harder.
    [(*which, COLUMN) for which in of(EVERY)] + [(*which, TEXT) for which in of(RUNS)],
)
def test_every_figure_fits_to_print(kind: str, name: str, width: float) -> None:
    assert_fit_to_print(EVERY[kind], name, width)


@pytest.mark.parametrize("kind", RUNS)
def test_pages_of_text_are_known(kind: str) -> None:
    """By what they draw: a page of text has no panel, and every other one has."""
    run = RUNS[kind]
    with style.drawing():
        assert [entry.name for entry in paged(run) if entry.words == bool(entry.draw(run).axes)] == []
    with pytest.raises(RequestError, match="is a page of text, and no figure for a paper; there are "):
        figure(run, paged(run)[0].name, "paper")


def test_a_wrong_name_lists_the_right_ones() -> None:
    run = sinkscope.Run(analyses.RUNS["small"].info, analyses.RUNS["small"].tables)
    with pytest.raises(RequestError, match=r"'sink_rat' is no figure of this run; there are .*sink_rate.* and "):
        run.figure("sink_rat")
    with pytest.raises(RequestError, match="'experts' does not apply to this run; there are "):
        run.figure("experts", style="paper")
    with pytest.raises(RequestError, match="`style` is page or paper, not 'poster'"):
        run.figures(style="poster")
    with pytest.raises(RequestError, match=r"3\.3 to 11 inches wide, and `width` is 2"):
        run.figure("sink_rate", style="paper", width=2)
    assert "sink_rate" in run.figures()
    assert list(run.figures(style="paper")) == [entry.name for entry in drawable(run)]
    assert repr(run.figures()).startswith("<figures: verdict, chain, ")


def test_files_are_the_same_twice(tmp_path: Path) -> None:
    run = RUNS["evaluation"]
    for attempt in ("one", "two"):
        (tmp_path / attempt).mkdir()
        write_figures(run, tmp_path / attempt, ("pdf", "svg"))
        render(run, tmp_path / attempt, ("md", "tex"))
    files = sorted(path.relative_to(tmp_path / "one") for path in (tmp_path / "one").rglob("*.*"))
    assert {path.name for path in files} == {"headline.md", "headline.tex"} | {
        f"{entry.name}.{ending}" for entry in drawable(run) for ending in ("pdf", "svg")
    }
    for file in files:
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes(), file
    with pytest.raises(RequestError, match=r"`style=paper`.* not as html"):
        write_figures(run, tmp_path / "one", ("html",))


@pytest.mark.parametrize("kind", RUNS)
def test_headlines_are_escaped(kind: str) -> None:
    """No markup of a name survives, in Markdown or in LaTeX."""
    text, tables = markdown(RUNS[kind]), latex(RUNS[kind])
    assert "<script" not in text.replace(r"\<", "")
    assert "| --- |" in text
    body = [line for line in tables.splitlines() if line and not line.startswith("%")]
    begins = [line for line in body if line.startswith(r"\begin{tabular}")]
    assert len(begins) == tables.count(r"\end{tabular}") > 0
    for line in body:
        for letter in "%#$_":
            assert letter not in line.replace(f"\\{letter}", ""), line
        assert "<" not in line
        assert not line.startswith("[")


@pytest.mark.parametrize("kind", ["analysis", "evaluation"])
def test_a_notebook_shows_findings_numbers_and_a_figure(kind: str) -> None:
    html = notebook_html(RUNS[kind])
    assert html is not None
    assert html.count("<svg") == 1
    assert "<table>" in html
    assert 'class="findings"' in html
    assert EVIL not in html
    assert "<script" not in html
    assert "<img" not in html
    assert notebook_html(Run({"kind": "baking"}, {})) is None
