"""From a run to figures on disk: one PNG per figure, a PDF with all of them, and an HTML file with the tables too.

A page is drawn and laid out once, and written in every format from there. Files depend on the run alone: no date is
written into them, so that rendering twice gives the same bytes.
"""

import io
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, cast

from matplotlib.backends.backend_pdf import PdfPages
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from sinkscope.errors import RequestError
from sinkscope.launch.collector import uncollected
from sinkscope.progress.display import counted, stage
from sinkscope.report import style
from sinkscope.report.entry import Entry
from sinkscope.report.html.document import IN_WORDS, document
from sinkscope.report.html.pictures import picture
from sinkscope.report.kinds import kind_of
from sinkscope.report.outline import outlined
from sinkscope.report.page import Page
from sinkscope.report.written import latex, markdown
from sinkscope.tables.run_folder import Run

FORMATS = ("png", "pdf", "html", "svg", "md", "tex")
DEFAULT = FORMATS[:3]
_PAPER = {"png", "pdf", "svg"}  # with pages for what HTML says as text too
DRAWING = "drawing page"  # the stage, as plans name it
_SAVING: dict[str, dict[str, Any]] = {  # compression 3 takes half the time of the default
    "png": {"metadata": {"Software": None}, "pil_kwargs": {"compress_level": 3}},
    "svg": {"metadata": {"Date": None, "Creator": None}},
}
FIGURES, REPORT, PAGE = "figures", "report.pdf", "report.html"
HEADLINES = {"md": ("headline.md", markdown), "tex": ("headline.tex", latex)}


def entries(run: Run) -> list[Entry]:
    """The figures that the report of `run` has, in order."""
    return [entry for entry in kind_of(run).figures if entry.applies_to(run)]


def figures(run: Run) -> dict[str, Figure]:
    """Draws every figure of a run, by name. In a notebook each shows itself."""
    return {entry.name: page for entry, page in _pages(run, entries(run))}


def render(run: Run, folder: Path, formats: Sequence[str] = DEFAULT) -> None:
    """Writes `figures/NAME.png`, `report.pdf`, `report.html`, and on request pages as SVG and headlines as text.

    Args:
        run: what to draw.
        folder: where; it must exist.
        formats: which of these, as `png`, `pdf`, `html`, `svg`, `md` and `tex`.

    Raises:
        SinkscopeError: for an unknown format.
    """
    check_formats(formats)
    for name, (file, written) in HEADLINES.items():
        if name in formats:
            (folder / file).write_text(written(run), encoding="utf-8")
    if HEADLINES.keys() >= set(formats):
        return
    chosen = [entry for entry in entries(run) if _PAPER & set(formats) or entry.name not in IN_WORDS]
    pictures: list[tuple[Entry, str]] = []
    drawn = io.BytesIO()
    with style.drawing(), uncollected(), ExitStack() as open_files:
        pdf = open_files.enter_context(PdfPages(drawn, metadata=_metadata(run))) if "pdf" in formats else None
        for entry, page in _pages(run, chosen):
            for name in _SAVING.keys() & set(formats):
                (folder / FIGURES).mkdir(exist_ok=True)
                page.savefig(folder / FIGURES / f"{entry.name}.{name}", **_SAVING[name])
            if pdf is not None:
                pdf.savefig(page)
            if "html" in formats and entry.name not in IN_WORDS:
                pictures.append((entry, vectors(entry, page)))
        if pdf is not None:
            stage(f"writing {REPORT}")
    if "pdf" in formats:
        outlined(drawn, [entry.title for entry in chosen], folder / REPORT, _metadata(run))
    if "html" in formats:
        stage(f"writing {PAGE}")
        (folder / PAGE).write_text(document(run, pictures), encoding="utf-8")


def check_formats(formats: Sequence[str]) -> None:
    """Refuses formats that a report is not made in.

    Raises:
        SinkscopeError: if there is one, or none at all.
    """
    unknown = sorted(set(formats) - set(FORMATS))
    if unknown or not formats:
        named = f", not as {unknown[0] or 'nothing'}" if unknown else ""
        raise RequestError(f"a report is made as {' or '.join(FORMATS)}{named}")


def vectors(entry: Entry, page: Page) -> str:
    """A figure for the HTML file, which has its title and caption as text."""
    return picture(page, entry.name, title=f"{entry.name}-title", caption=f"{entry.name}-caption")


def _pages(run: Run, chosen: Sequence[Entry]) -> Iterator[tuple[Entry, Page]]:
    """The pages one by one, so that no more than one is held."""
    every = entries(run)
    with style.drawing():
        for entry in counted(chosen, DRAWING):
            yield entry, _page(entry, run, f"{every.index(entry) + 1} / {len(every)}")


def page_of(run: Run, entry: Entry) -> Page:
    """One finished page of a run's report, numbered as there."""
    chosen = entries(run)
    with style.drawing():
        return _page(entry, run, f"{chosen.index(entry) + 1} / {len(chosen)}")


def _page(entry: Entry, run: Run, number: str) -> Page:
    """One finished page. Its layout is computed once, here, and then kept for every format."""
    page = entry.draw(run)
    foot = f"sinkscope {run.info['sinkscope']}, page {number}"
    page.label(entry.title, kind_of(run).subtitle(run), entry.caption, foot)
    if page.axes:
        cast("ConstrainedLayoutEngine", page.get_layout_engine()).execute(page)
    page.set_layout_engine(None)  # not "none", whose placeholder makes every save draw the page once more
    for axes in page.axes:  # the layout's solver sums in an order that varies, and with it the last bits of its result
        left, bottom, width, height = (round(float(side), 6) for side in axes.get_position(original=True).bounds)
        axes.set_position((left, bottom, width, height))
    return page


def _metadata(run: Run) -> dict[str, str | None]:
    return {
        "Title": f"sinkscope report: {kind_of(run).subtitle(run)}",
        "Creator": f"sinkscope {run.info['sinkscope']}",
        "Producer": None,
        "CreationDate": None,
    }
