"""From a run to figures on disk: one PNG per figure, a PDF with all of them, and an HTML file with the tables too.

Files depend on the run alone: no date is written into them, so that rendering twice gives the same bytes.
"""

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import cast

from matplotlib.backends.backend_pdf import PdfPages
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from sinkscope.errors import RequestError
from sinkscope.progress.display import counted
from sinkscope.report import style
from sinkscope.report.entry import Entry
from sinkscope.report.html.document import IN_WORDS, document
from sinkscope.report.html.pictures import picture
from sinkscope.report.kinds import kind_of
from sinkscope.report.page import Page
from sinkscope.tables.run_folder import Run

FORMATS = ("png", "pdf", "html")
DEFAULT = FORMATS
DRAWING = "drawing page"  # the stage, as plans name it
_PIXELS = {"compress_level": 3}  # zlib works less than at the default, 6
FIGURES, REPORT, PAGE = "figures", "report.pdf", "report.html"


def entries(run: Run) -> list[Entry]:
    """The figures that the report of `run` has, in order."""
    return [entry for entry in kind_of(run).figures if entry.applies_to(run)]


def figures(run: Run) -> dict[str, Figure]:
    """Draws every figure of a run, by name. In a notebook each shows itself."""
    return {entry.name: page for entry, page in _pages(run)}


def render(run: Run, folder: Path, formats: Sequence[str] = DEFAULT) -> None:
    """Writes `figures/NAME.png`, `report.pdf` and `report.html`.

    Args:
        run: what to draw.
        folder: where; it must exist.
        formats: which of these, as `png`, `pdf` and `html`.

    Raises:
        SinkscopeError: for an unknown format.
    """
    check_formats(formats)
    paper = bool({"png", "pdf"} & set(formats))
    pages = _pages(run, left_out=frozenset() if paper else IN_WORDS)
    with style.drawing():
        if "png" in formats:
            (folder / FIGURES).mkdir(exist_ok=True)
            for entry, page in counted(pages, "drawing picture"):
                page.savefig(folder / FIGURES / f"{entry.name}.png", metadata={"Software": None}, pil_kwargs=_PIXELS)
        if "html" in formats:
            pictures = [(entry, vectors(entry, page)) for entry, page in pages if entry.name not in IN_WORDS]
            (folder / PAGE).write_text(document(run, pictures), encoding="utf-8")
        if "pdf" in formats:
            with PdfPages(folder / REPORT, metadata=_metadata(run)) as pdf:
                for _, page in counted(pages, "drawing PDF page"):
                    pdf.savefig(page)


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


def _pages(run: Run, left_out: Collection[str] = ()) -> list[tuple[Entry, Page]]:
    chosen = entries(run)
    with style.drawing():
        numbered = [(n, entry) for n, entry in enumerate(chosen, start=1) if entry.name not in left_out]
        return [(entry, _page(entry, run, f"{number} / {len(chosen)}")) for number, entry in counted(numbered, DRAWING)]


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
