"""A run in a notebook: what the terminal says of it as HTML, and its first figure beside it as a drawing.

Nothing in it asks for anything: no script, no font, no request. Whatever comes from a run is escaped.
"""

import hashlib
import json

from sinkscope.report import style
from sinkscope.report.figure.made import TEXT, alone, drawable
from sinkscope.report.html.markup import element, escaped
from sinkscope.report.html.pictures import picture
from sinkscope.report.html.said import summary_html
from sinkscope.report.kinds import KINDS, kind_of
from sinkscope.tables.run_folder import Run

_LOOKS = (
    ".sinkscope-run table{margin:.5em 0}.sinkscope-run th,.sinkscope-run td{text-align:left;padding:.1em .8em .1em 0}"
    ".sinkscope-run .number{text-align:right}.sinkscope-run .strong{font-weight:bold}.sinkscope-run .pale{opacity:.7}"
    ".sinkscope-run figure{margin:1em 0;max-width:6.8in}.sinkscope-run svg{background:white;width:100%;height:auto}"
)


def notebook_html(run: Run) -> str | None:
    """The run as HTML; None for a run of a kind that has no report, which a notebook then shows in one line."""
    if run.info.get("kind") not in KINDS:
        return None
    said = element("div", summary_html(kind_of(run).summary(run)), class_="said")
    return element("div", element("style", _LOOKS), said, _first_figure(run), class_="sinkscope-run")


def _first_figure(run: Run) -> str:
    entries = drawable(run)
    if not entries:
        return ""
    entry = entries[0]
    known = json.dumps([run.info.get("created"), run.info.get("headline")], default=str)
    name = f"sinkscope-{hashlib.sha256(known.encode()).hexdigest()[:8]}-{entry.name}"
    with style.drawing():
        drawing = picture(alone(entry, run, TEXT), name, title=f"{name}-title", caption=f"{name}-caption", whole=True)
    title = element("strong", escaped(entry.title), id=f"{name}-title")
    caption = element("figcaption", escaped(entry.caption), id=f"{name}-caption", class_="pale")
    return element("figure", title, drawing, caption)
