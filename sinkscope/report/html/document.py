"""The page of HTML, from top to bottom: contents, what is said, figures with charts, tables, run.json."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import numpy as np

from sinkscope.compat.browser_bundles import datatables_script, datatables_style, plotly_script
from sinkscope.report.entry import Entry
from sinkscope.report.html.charts.chart import Chart
from sinkscope.report.html.charts.registry import chart_of
from sinkscope.report.html.data_tables import tables_html
from sinkscope.report.html.markup import element, escaped
from sinkscope.report.html.packed import compact, hash_of, island
from sinkscope.report.html.record import record_html
from sinkscope.report.html.said import summary_html
from sinkscope.report.kinds import kind_of
from sinkscope.tables.run_folder import Run

# Figures that are text, which this page says as text.
IN_WORDS = {"answer", "verdict", "claims", "numbers", "comparison", "overview", "provenance"}

_SORTING = (
    "Open a table to sort it by a click or Enter on a column, and to search it. Empty cells were not measured. Blanks "
    "and line breaks of tokens are shown as signs. Numbers are rounded to six digits; the parquet files have all."
)
_NO_SCRIPT = (
    "Charts and tables need JavaScript, which is off here. The figures are below; the tables are in the run folder's "
    "parquet files."
)


@dataclass(frozen=True)
class _Links:
    """The table of contents."""

    places: list[tuple[str, str]]

    def html(self) -> str:
        items = (element("li", element("a", escaped(text), href=f"#{name}")) for name, text in self.places)
        return element("nav", element("ol", *items), class_="contents", aria_label="Contents")


def document(run: Run, pictures: Sequence[tuple[Entry, str]]) -> str:
    """The whole file.

    Args:
        run: what to show.
        pictures: the figures in order, each as SVG; those `IN_WORDS` are not among them.
    """
    kind = kind_of(run)
    first = next((entry for entry in kind.figures if entry.name in IN_WORDS and entry.applies_to(run)), None)
    title = first.title if first is not None else str(run.info["kind"])
    charts = {entry.name: chart for entry, _ in pictures if (chart := chart_of(run, entry.name)) is not None}
    links = _Links([
        ("said", "Findings and numbers"),
        *((entry.name, entry.title) for entry, _ in pictures),
        ("tables", "Tables"),
        ("provenance", "Provenance"),
    ])  # fmt: skip
    scripts = _scripts(charts)
    parts = [
        _head(f"sinkscope: {kind.subtitle(run)}", [*scripts.values(), _own("page.js")]),
        element("a", "To the findings", href="#said", class_="skip"),
        element("h1", escaped(title)),
        element("p", escaped(kind.subtitle(run)), class_="note"),
        element("p", _NO_SCRIPT, class_="scriptless strong"),
        links.html(),
        "<main>",
        '<section id="said" class="said" aria-label="Findings and numbers">',
        summary_html(kind.summary(run)),
        element("p", escaped(first.caption), class_="note") if first is not None else "",
        "</section>",
        *(_figure(entry, svg, charts.get(entry.name)) for entry, svg in pictures),
        '<section class="tables"><h2 id="tables">Tables</h2>',
        element("p", _SORTING, class_="note"),
        tables_html(run),
        "</section>",
        '<section><h2 id="provenance">Provenance: how these numbers came about</h2>',
        record_html(run.info),
        '<details class="raw"><summary><h3>run.json</h3></summary>',
        element("pre", escaped_lines(json.dumps(_plain(run.info), indent=1)), tabindex="0"),
        "</details></section>",
        element("p", f"sinkscope {escaped(run.info['sinkscope'])}", class_="note"),
        "</main>",
        island("charts", compact({name: _specification(chart) for name, chart in charts.items()})) if charts else "",
        island("style-tables", datatables_style()),
        *(island(name, text) for name, text in scripts.items()),
        f"<script>{_own('page.js')}</script>\n</body>\n</html>\n",
    ]
    return "\n".join(parts)


def escaped_lines(text: str) -> str:
    """Text of several lines as HTML."""
    return "\n".join(map(escaped, text.splitlines()))


def _scripts(charts: Mapping[str, Chart]) -> dict[str, str]:
    """The libraries that this page needs, by the id under which its script finds them."""
    return {"script-tables": datatables_script()} | ({"script-charts": plotly_script()} if charts else {})


def _head(title: str, scripts: Sequence[str]) -> str:
    allowed = " ".join(map(hash_of, scripts))
    policy = (
        f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src {allowed}; base-uri 'none'; "
        "form-action 'none'"
    )
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escaped(title)}</title>\n<style>\n{_own('page.css')}</style>\n</head>\n<body>"
    )


def _figure(entry: Entry, svg: str, chart: Chart | None) -> str:
    """A figure under its heading, with its chart before it."""
    caption = element("figcaption", escaped(entry.caption), id=f"{entry.name}-caption")
    holder = element("div", svg, class_="picture", tabindex="0", role="group", aria_labelledby=f"{entry.name}-title")
    parts = [
        element("h2", escaped(entry.title), id=f"{entry.name}-title"),
        _chart(entry.name, chart) if chart is not None else "",
        element("figure", holder, caption),
    ]
    return element("section", *parts, id=entry.name)


def _chart(name: str, chart: Chart) -> str:
    choice = ""
    if len(chart.views) > 1:
        options = (element("option", escaped(view), value=view) for view in chart.views)
        named = element("label", escaped(chart.choice), for_=f"choice-{name}")
        choice = element("div", named, element("select", *options, id=f"choice-{name}"), class_="choice")
    return element(
        "div",
        element("h3", escaped(chart.title)),
        element("p", escaped(chart.words), class_="note"),
        choice,
        element("div", class_="plot", role="img", aria_label=f"{chart.title}. The numbers stand in the tables below."),
        id=f"chart-{name}",
        class_="chart",
    )


def _specification(chart: Chart) -> dict[str, Any]:
    return {"views": chart.views, "layout": chart.layout, "height": chart.height}


def _own(name: str) -> str:
    return files("sinkscope.report.html").joinpath(name).read_text(encoding="utf-8")


def _plain(value: Any) -> Any:
    """What JSON can hold, NaN and infinities as null, as in run.json."""
    if isinstance(value, dict):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value
