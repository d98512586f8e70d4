"""The HTML report is one file that needs nothing else, shows markup as text, and holds every row of every table."""

import base64
import gzip
import hashlib
import html
import json
import math
import re
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from html_runs import EVIL, RUNS, Outline, made, page, whole

from sinkscope.report.html import data_tables
from sinkscope.report.html.document import IN_WORDS, document
from sinkscope.report.html.markup import escaped, visible
from sinkscope.report.html.packed import compact
from sinkscope.report.kinds import KINDS, kind_of
from sinkscope.report.render import PAGE, entries, render
from sinkscope.tables.run_folder import Run
from sinkscope.terminal import readable

each_kind = pytest.mark.parametrize("run", RUNS.values(), ids=RUNS)


def unpacked(island: str) -> str:
    return gzip.decompress(base64.b64decode(island)).decode("utf-8")


def rows_of(text: str) -> dict[str, Any]:
    """The tables as the page's script reads them, by name."""
    islands = Outline(text).islands
    return {name.removeprefix("rows-"): json.loads(unpacked(island)) for name, island in islands.items()
            if name.startswith("rows-")}  # fmt: skip


def test_every_kind_is_here() -> None:
    assert set(RUNS) == set(KINDS)


@each_kind
def test_file_is_well_formed_and_asks_for_nothing(run: Run) -> None:
    outline = Outline(page(run))
    assert outline.open == []
    for tag, attributes in outline.tags:
        assert tag not in ("link", "iframe", "object", "embed", "base", "form", "img"), tag
        assert not any(name.startswith("on") for name in attributes), attributes
        assert "src" not in attributes
        target = attributes.get("href")
        assert target is None or target.startswith("#")
    assert not re.search(r"https?://", re.sub(r"<pre.*?</pre>", "", page(run), flags=re.DOTALL))


@each_kind
def test_policy_allows_no_request_and_no_script_but_the_files_own(run: Run) -> None:
    text = page(run)
    outline = Outline(text)
    policy = next(attributes["content"] for tag, attributes in outline.tags if "http-equiv" in attributes)
    assert policy is not None
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    assert rules["default-src"] == "'none'"
    assert set(rules) == {"default-src", "img-src", "style-src", "script-src", "base-uri", "form-action"}
    assert rules["img-src"] == "data:"
    (own,) = re.findall(r"<script>(.*?)</script>", text, flags=re.DOTALL)
    scripts = [own, *(unpacked(island) for name, island in outline.islands.items() if name.startswith("script-"))]
    digests = (base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts)
    assert set(rules["script-src"].split()) == {f"'sha256-{digest}'" for digest in digests}


@each_kind
def test_markup_in_names_stays_text(run: Run) -> None:
    text = page(run)
    assert EVIL not in text
    assert "onerror='" not in text
    assert "window.evil" in Outline(text).text
    assert "\u202e" not in text


def test_markup_in_tokens_stays_text_in_tables_and_charts() -> None:
    outline = Outline(page(RUNS["analysis"]))
    content = json.loads(unpacked(outline.islands["rows-sinks"]))
    assert visible(EVIL) in content["columns"][content["kinds"].index("token")]
    charts = unpacked(outline.islands["charts"])
    assert "&lt;/script&gt;" in charts
    assert "<script" not in charts
    assert "<img" not in charts


@each_kind
def test_links_lead_somewhere_and_names_are_used_once(run: Run) -> None:
    tags = Outline(page(run)).tags
    places = [attributes["id"] for _, attributes in tags if "id" in attributes]
    assert len(places) == len(set(places))
    targets = {str(attributes["href"])[1:] for tag, attributes in tags if tag == "a"}
    named = {str(attributes[name]) for _, attributes in tags for name in ("aria-labelledby", "aria-describedby")
             if name in attributes}  # fmt: skip
    assert targets
    assert targets | named <= set(places)


@each_kind
def test_every_row_of_every_table_is_there(run: Run) -> None:
    shown = rows_of(page(run))
    assert len(shown) == len(run.tables)
    for name, table in run.tables.items():
        content = shown[html.unescape(escaped(name))]
        assert len(content["columns"]) == len(table.columns)
        for kind, cells, column in zip(content["kinds"], content["columns"], table, strict=True):
            assert len(cells) == len(table)
            for cell, value in zip(cells, table[column].tolist(), strict=True):
                _assert_same(kind, cell, value)


def _assert_same(kind: str, cell: Any, value: Any) -> None:
    if value is None or pd.isna(value):
        assert cell is None
    elif kind == "number":
        expected = float(value)
        assert float(cell) == expected if math.isinf(expected) else float(cell) == pytest.approx(expected, rel=1e-5)
    elif kind == "truth":
        assert cell == int(value)
    else:
        assert cell == (visible(value) if kind == "token" else readable(value))


def test_columns_are_named_and_explained() -> None:
    outline = Outline(page(RUNS["analysis"]))
    heads = {attributes.get("title") for tag, attributes in outline.tags if tag == "th"}
    assert any(title and "attention" in title for title in heads)
    assert "What the columns mean" in outline.text


def test_a_table_too_long_for_a_page_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    run = RUNS["analysis"]
    monkeypatch.setattr(data_tables, "ROWS", len(run["positions"]) - 1)
    text = made(run)
    assert "positions" not in rows_of(text)
    assert f"with {len(run['positions']):,} rows: they are in positions.parquet" in Outline(text).text
    assert "maps" in rows_of(text)
    monkeypatch.setattr(data_tables, "MATERIAL_ROWS", len(run["maps"]) - 1)
    assert "maps" not in rows_of(made(run))


@each_kind
def test_words_are_those_of_the_terminal(run: Run) -> None:
    """Every word of the summary, however rich breaks it into lines; and each figure with heading and caption."""
    text = Outline(page(run)).text
    said = str(kind_of(run).summary(run))
    words = [word for word in re.findall(r"[\w.]{4,}", said) if "evil" not in word]
    assert [word for word in words if word not in text] == []
    for entry in entries(run):
        if entry.name != "provenance":
            assert escaped(" ".join(entry.caption.split())) in html.escape(text)
        if entry.name not in IN_WORDS:
            assert entry.title in text


@each_kind
def test_numbers_are_a_table_with_heads(run: Run) -> None:
    said = re.findall(r'<section id="said".*?</section>', page(run), flags=re.DOTALL)[0]
    assert said.index("<ul ") < said.index("<table>")
    assert said.count('<th scope="col"') >= 4
    assert said.count('<th scope="row"') >= 2


def test_every_kind_has_its_text_page_left_out_of_the_pictures() -> None:
    """The first page, the provenance, and of an analysis the numbers, all of which stand in the table on top."""
    for kind in KINDS.values():
        found = {entry.name for entry in kind.figures if entry.name in IN_WORDS}
        assert len(found - {"numbers", "answer"}) == 2
    assert [entry.name for entry in KINDS["analysis"].figures if entry.name in IN_WORDS][1] == "numbers"


@each_kind
def test_run_json_is_in_it(run: Run) -> None:
    content = re.findall(r"<pre[^>]*>(.*?)</pre>", page(run), flags=re.DOTALL)[-1]
    assert json.loads(html.unescape(content))["kind"] == run.info["kind"]


def test_provenance_has_no_python_in_it() -> None:
    text = Outline(page(RUNS["analysis"])).text
    record = text[text.index("Provenance: how") : text.index("run.json {")]
    assert not re.search(r"\b(True|False|None)\b|\['|\{'", record)


def test_pictures_are_vectors_without_title_and_caption(monkeypatch: pytest.MonkeyPatch) -> None:
    kind = KINDS["analysis"]
    monkeypatch.setitem(KINDS, "analysis", replace(kind, figures=kind.figures[:4]))
    run = RUNS["analysis"]
    text = whole(run)
    outline = Outline(text)
    assert outline.open == []
    drawings = re.findall(r"<svg.*?</svg>", text, flags=re.DOTALL)
    assert len(drawings) == 2
    for drawing, entry in zip(drawings, [entries(run)[1], entries(run)[3]], strict=True):
        assert entry.title not in drawing
        assert ('class="shaded"' in drawing) == (entry.name == "sink_heatmap")  # keeps its shades on dark paper
        assert "DejaVu Sans', Verdana" in drawing
        assert set(re.findall(r'\bid="(\w+?)-', drawing)) == {entry.name}
    places = [attributes["id"] for _, attributes in outline.tags if "id" in attributes]
    assert len(places) == len(set(places))
    used = set(re.findall(r'href="#([^"]+)"|url\(#([^)]+)\)', text))
    assert {a or b for a, b in used} <= set(places)


def test_pages_keep_their_titles_for_paper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing for HTML, which leaves titles out, changes neither the PNG nor the PDF."""
    kind = KINDS["analysis"]
    monkeypatch.setitem(KINDS, "analysis", replace(kind, figures=kind.figures[:2]))
    for name, formats in (("alone", ("png", "pdf")), ("all", ("png", "html", "pdf"))):
        (tmp_path / name).mkdir()
        render(RUNS["analysis"], tmp_path / name, formats)
    papers = [path.relative_to(tmp_path / "alone") for path in (tmp_path / "alone").rglob("*.p*") if path.is_file()]
    assert len(papers) == 3
    for path in papers:
        assert (tmp_path / "alone" / path).read_bytes() == (tmp_path / "all" / path).read_bytes()
    first = (tmp_path / "all" / PAGE).read_bytes()
    render(RUNS["analysis"], tmp_path / "all", ("html",))
    assert (tmp_path / "all" / PAGE).read_bytes() == first


def test_json_holds_no_numbers_that_json_lacks() -> None:
    with pytest.raises(ValueError, match="Out of range"):
        compact([float("nan")])


@pytest.mark.parametrize(
    ("token", "shown"),
    [
        ("\u0120the", "\u2423the"),
        ("\u2581the", "\u2423the"),
        ("\u010a\u010a", "\u21b5\u21b5"),
        ("a\tb", "a\u2192b"),
        ("\u6f22\u5b57", "\u6f22\u5b57"),
        ("\x00\u200b\u202e", r"\x00\u200b\u202e"),
        ("\ud800", r"\ud800"),
    ],
)
def test_tokens_are_readable(token: str, shown: str) -> None:
    assert visible(token) == shown


def _luminance(colour: str) -> float:
    digits = colour.lstrip("#")
    digits = "".join(2 * digit for digit in digits) if len(digits) == 3 else digits
    parts = [int(digits[place : place + 2], 16) / 255 for place in (0, 2, 4)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_letters_stand_out_by_four_and_a_half_in_light_dark_and_print() -> None:
    sheet = files("sinkscope.report.html").joinpath("page.css").read_text(encoding="utf-8")
    light, dark, paper = (dict(re.findall(r"--(\w+): (#\w+);", block))
                          for block in re.findall(r":root \{(.*?)\}", sheet, flags=re.DOTALL))  # fmt: skip
    for colours in (light, light | dark, light | paper):
        for ink in ("ink", "pale", "link", "lower", "higher", "same"):
            for ground in ("paper", "panel"):
                a, b = sorted((_luminance(colours[ink]), _luminance(colours[ground])))
                assert (b + 0.05) / (a + 0.05) >= 4.5, (ink, ground, colours)


def test_document_needs_no_pictures() -> None:
    assert Outline(document(RUNS["track"], [])).open == []
