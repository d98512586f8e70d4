"""A run as one HTML file: the report's pages, and every table of the run, sortable.

The file is complete in itself: pictures are inside, nothing is fetched, and a content policy in its head forbids
browsers to fetch anything even if some text of the run tried to. It can be mailed, archived, or opened from a disk.
"""

import base64
import html
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from sinkscope.report.entry import Entry
from sinkscope.report.kinds import kind_of
from sinkscope.report.text import number, printable
from sinkscope.tables.column import Column
from sinkscope.tables.columns import TABLES
from sinkscope.tables.run_folder import Run

_SORTING = "A click on a column sorts by it, a second one the other way round. Empty cells were not measured."
ROWS = 500  # of a table; the parquet file beside has the rest

_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
_STYLE = """
body { margin: 0 auto; max-width: 1200px; padding: 1rem 1.5rem 4rem; font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.5rem; margin: 0.5rem 0 0; } h2 { font-size: 1.2rem; margin-top: 2.5rem; } h3 { margin: 2rem 0 0; }
p.subtitle, p.note, figcaption, nav { color: #555; } nav a { margin-right: 1em; white-space: nowrap; }
nav { margin: 1rem 0; } a { color: #0072b2; }
figure { margin: 1.5rem 0; } figure img { width: 100%; height: auto; border: 1px solid #ddd; }
pre { overflow-x: auto; background: #f6f6f6; padding: 0.8rem; font-size: 12.5px; line-height: 1.4; }
div.table { overflow: auto; max-height: 32rem; border: 1px solid #ddd; }
table { border-collapse: collapse; font-size: 13px; font-variant-numeric: tabular-nums; }
th { position: sticky; top: 0; background: #f0f0f0; padding: 0; }
th button { font: inherit; font-weight: 600; border: 0; background: none; padding: 0.3rem 0.7rem; cursor: pointer; }
th, td { white-space: nowrap; }
th button::after { content: " \\2195"; color: #777; }
th[aria-sort="ascending"] button::after { content: " \\2191"; color: #111; }
th[aria-sort="descending"] button::after { content: " \\2193"; color: #111; }
td { padding: 0.15rem 0.7rem; border-top: 1px solid #eee; } td.number { text-align: right; }
"""
_SCRIPT = """
const numeric = (text) => Number(text.replace("inf", "Infinity"));
const words = new Intl.Collator("en", { numeric: true });
function sort(header) {
  const body = header.closest("table").tBodies[0], column = header.cellIndex;
  const sign = header.getAttribute("aria-sort") === "ascending" ? -1 : 1;
  const compare = header.dataset.kind === "number" ? (a, b) => numeric(a) - numeric(b) : words.compare;
  const rows = Array.from(body.rows, (row) => [row.cells[column].textContent, row]);
  rows.sort(([a], [b]) => (a === "") - (b === "") || (a === b ? 0 : sign * compare(a, b)));  // nulls stay last
  for (const other of header.parentElement.cells) other.removeAttribute("aria-sort");
  header.setAttribute("aria-sort", sign === 1 ? "ascending" : "descending");
  body.append(...rows.map(([, row]) => row));
}
for (const header of document.querySelectorAll("th")) {
  header.firstElementChild.addEventListener("click", () => sort(header));
}
"""


def document(run: Run, pictures: Sequence[tuple[Entry, bytes]]) -> str:
    """The whole file.

    Args:
        run: what to show.
        pictures: the report's pages in order, as PNG.
    """
    kind = kind_of(run)
    title = html.escape(f"sinkscope: {kind.subtitle(run)}")
    links = [(entry.name, entry.title) for entry, _ in pictures] + [
        ("tables", "Tables"),
        ("provenance-json", "run.json"),
    ]
    parts = [
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{title}</title>\n<style>{_STYLE}</style>\n</head>\n<body>",
        f"<h1>{html.escape(pictures[0][0].title if pictures else run.info['kind'])}</h1>",
        f'<p class="subtitle">{html.escape(kind.subtitle(run))}</p>',
        "<nav>" + " ".join(f'<a href="#{name}">{html.escape(text)}</a>' for name, text in links) + "</nav>",
        f"<pre>{html.escape(str(kind.summary(run)))}</pre>",
        *(_figure(entry, picture) for entry, picture in pictures),
        '<h2 id="tables">Tables</h2>',
        f'<p class="note">{_SORTING}</p>',
        *(_table(name, table) for name, table in run.tables.items()),
        '<h2 id="provenance-json">run.json</h2>',
        f"<pre>{html.escape(json.dumps(_plain(run.info), indent=1))}</pre>",
        f"<p class='note'>sinkscope {html.escape(str(run.info['sinkscope']))}</p>",
        f"<script>{_SCRIPT}</script>\n</body>\n</html>\n",
    ]
    return "\n".join(parts)


def _figure(entry: Entry, picture: bytes) -> str:
    source = base64.b64encode(picture).decode("ascii")
    words = html.escape(f"{entry.title}. {entry.caption}")
    return f'<figure id="{entry.name}"><img alt="{words}" src="data:image/png;base64,{source}"></figure>'


def _table(name: str, table: pd.DataFrame) -> str:
    declared = TABLES.get(name)
    columns = {column.name: column for column in declared.columns} if declared is not None else {}
    meaning = f"A row: {declared.meaning}" if declared is not None else ""
    first = table.head(ROWS)
    if len(table) > ROWS:
        meaning += f" The first {number(ROWS)} of {number(len(table))} rows; all are in {name}.parquet."
    numeric = [pd.api.types.is_numeric_dtype(table[column]) and table[column].dtype != bool for column in table]
    head = "".join(
        _header(str(column), columns.get(str(column)), is_number)
        for column, is_number in zip(table, numeric, strict=True)
    )
    cells = zip(
        *(_cells(first[column], is_number) for column, is_number in zip(table, numeric, strict=True)), strict=True
    )
    body = "\n".join(f"<tr>{''.join(row)}</tr>" for row in cells)
    return (
        f'<h3 id="table-{html.escape(name)}">{html.escape(name)}</h3>\n<p class="note">{html.escape(meaning)}</p>\n'
        f'<div class="table"><table><thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody></table></div>'
    )


def _header(name: str, column: Column | None, is_number: bool) -> str:
    words = "" if column is None else f"{column.meaning}{f' [{column.unit}]' if column.unit else ''}"
    kind = "number" if is_number else "text"
    return (
        f'<th data-kind="{kind}" title="{html.escape(words)}"><button type="button">{html.escape(name)}</button></th>'
    )


def _cells(values: "pd.Series[Any]", is_number: bool) -> list[str]:
    attribute = ' class="number"' if is_number else ""
    return [f"<td{attribute}>{'' if pd.isna(value) else html.escape(_words(value))}</td>" for value in values]


def _words(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    return printable(value) if isinstance(value, str) else str(value)


def _plain(value: Any) -> Any:
    """What JSON can hold, NaN and infinities as null, as in run.json."""
    if isinstance(value, dict):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value
