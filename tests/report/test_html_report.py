"""The HTML report is one file that needs nothing else, holds every table, and sorts them."""

import base64
import html
import json
import re
import shutil
import subprocess
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest
from synthetic import Shape, synthetic

from sinkscope.comparison.compare_runs import compare_runs
from sinkscope.report.html import ROWS, document
from sinkscope.report.kinds import KINDS
from sinkscope.report.render import FIGURES, PAGE, entries, render
from sinkscope.tables.run_folder import Run

SHAPE = Shape(2, 2, 1, tokens=12, sequences=2)
EVIL = "<script>alert(1)</script>\"'&"
RUN = synthetic(SHAPE, name=EVIL)
COMPARISON = compare_runs([synthetic(SHAPE), synthetic(replace(SHAPE, seed=1))], ["a", EVIL], draws=100)
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


class Outline(HTMLParser):
    """Tags with their attributes, and the text of every table row."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.tables: list[list[list[str]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attributes)))
        if tag not in ("meta", "img"):
            self.open.append(tag)
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and {"td", "th"} & set(self.open[-2:]):
            self.tables[-1][-1][-1] += data


def page(run: Run) -> str:
    return document(run, [(entry, b"\x89PNG made up") for entry in entries(run)[:1]])


@pytest.mark.parametrize("run", [RUN, COMPARISON], ids=["analysis", "comparison"])
def test_file_is_well_formed_and_asks_for_nothing(run: Run) -> None:
    outline = Outline(page(run))
    assert outline.open == []
    assert sum(tag == "script" for tag, _ in outline.tags) == 1
    for tag, attributes in outline.tags:
        assert tag not in ("link", "iframe", "object", "embed", "base"), tag
        assert not any(name.startswith("on") for name in attributes), attributes
        source = attributes.get("src")
        assert source is None or source.startswith("data:image/png;base64,")
        target = attributes.get("href")
        assert target is None or target.startswith("#")
    policy = next(attributes["content"] for tag, attributes in outline.tags if "http-equiv" in attributes)
    assert policy is not None
    assert policy.startswith("default-src 'none'")
    assert not re.search(r"https?://", re.sub(r"<pre>.*?</pre>", "", page(run), flags=re.DOTALL))


@pytest.mark.parametrize("run", [RUN, COMPARISON], ids=["analysis", "comparison"])
def test_links_lead_somewhere(run: Run) -> None:
    tags = Outline(page(run)).tags
    places = {attributes["id"] for _, attributes in tags if "id" in attributes}
    targets = {str(attributes["href"])[1:] for tag, attributes in tags if tag == "a"}
    assert targets
    assert targets <= places


@pytest.mark.parametrize("run", [RUN, COMPARISON], ids=["analysis", "comparison"])
def test_every_table_is_there_cell_by_cell(run: Run) -> None:
    outline = Outline(page(run))
    for shown, (name, table) in zip(outline.tables, run.tables.items(), strict=True):
        assert shown[0] == list(table.columns), name
        assert len(shown) - 1 == min(len(table), ROWS), name
        for cells, row in zip(shown[1:], table.itertuples(index=False), strict=False):
            for cell, value in zip(cells, row, strict=True):
                if pd.isna(value):
                    assert cell == ""
                elif isinstance(value, float):
                    assert float(cell) == pytest.approx(value, rel=1e-5)


def test_long_tables_are_capped_and_say_so() -> None:
    long = Run(RUN.info, {"scatter": pd.concat([RUN["scatter"]] * 20, ignore_index=True)})
    assert len(long["scatter"]) > 2 * ROWS
    pages = document(replace(RUN, tables={**RUN.tables, **long.tables}), [])
    assert f"The first {ROWS} of {len(long['scatter']):,} rows; all are in scatter.parquet" in pages


def test_headline_and_run_json_are_in_it() -> None:
    text = page(COMPARISON)
    assert "suppressed" in text or "unclear" in text or "preserved" in text
    content = re.findall(r"<pre>(.*?)</pre>", text, flags=re.DOTALL)[-1]
    assert json.loads(html.unescape(content))["kind"] == "comparison"


def test_same_figures_as_the_png_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kind = KINDS["analysis"]
    monkeypatch.setitem(KINDS, "analysis", replace(kind, figures=kind.figures[:3]))
    render(RUN, tmp_path, formats=("png", "html"))
    text = (tmp_path / PAGE).read_text(encoding="utf-8")
    pictures = [base64.b64decode(found) for found in re.findall(r"data:image/png;base64,([^\"]+)", text)]
    files = [(tmp_path / FIGURES / f"{entry.name}.png").read_bytes() for entry in entries(RUN)]
    assert pictures == files
    assert len(files) == 3


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here: apt-get install chromium")
def test_clicks_sort_in_a_browser(tmp_path: Path) -> None:
    """Numbers as numbers, words as words, nulls last; a second click turns the order round."""
    clicks = """
    const table = document.querySelector("#table-comparison + p + div table");
    const column = (n) => Array.from(table.tBodies[0].rows, (row) => row.cells[n].textContent);
    const button = (n) => table.tHead.rows[0].cells[n].firstElementChild;
    const found = {};
    button(5).click(); found.up = column(5); found.state = table.tHead.rows[0].cells[5].getAttribute("aria-sort");
    button(5).click(); found.down = column(5);
    button(0).click(); found.words = column(0);
    found.errors = window.failures || [];
    document.body.textContent = "";
    const out = document.createElement("pre"); out.id = "found"; out.textContent = JSON.stringify(found);
    document.body.append(out);
    """
    text = page(COMPARISON).replace(
        "<script>", "<script>window.failures = []; window.onerror = (m) => failures.push(m);"
    )
    file = tmp_path / "page.html"
    file.write_text(text.replace("</body>", f"<script>{clicks}</script></body>"), encoding="utf-8")
    command = [str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}",
               "--virtual-time-budget=5000", "--dump-dom", file.as_uri()]  # fmt: skip
    dom = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout
    (content,) = re.findall(r'<pre id="found">(.*?)</pre>', dom, flags=re.DOTALL)
    found = json.loads(content.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&"))
    assert found["errors"] == []
    assert found["state"] == "ascending"
    ratios = COMPARISON["comparison"]["ratio"].dropna()
    blanks = [""] * int(COMPARISON["comparison"]["ratio"].isna().sum())
    assert found["up"] == [f"{value:.6g}" for value in sorted(ratios)] + blanks
    assert found["down"] == [f"{value:.6g}" for value in sorted(ratios, reverse=True)] + blanks
    assert found["words"][:2] == ["abs_max", "abs_max"]
    assert sorted(found["words"]) == sorted(COMPARISON["comparison"]["metric"])
