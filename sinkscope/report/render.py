"""From a run to figures on disk: one PNG per figure, and a PDF with all of them.

Files depend on the run alone: no date is written into them, so that rendering twice gives the same bytes.
"""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.backends.backend_pdf import PdfPages
from matplotlib.figure import Figure

from sinkscope.errors import SinkscopeError
from sinkscope.report import style
from sinkscope.report.figures.entry import Entry
from sinkscope.report.kinds import kind_of
from sinkscope.report.page import Page
from sinkscope.tables.store import Run

FORMATS = ("png", "pdf")
FIGURES, REPORT = "figures", "report.pdf"


def entries(run: Run) -> list[Entry]:
    """The figures that the report of `run` has, in order."""
    return [entry for entry in kind_of(run).figures if entry.shown(run)]


def figures(run: Run) -> dict[str, Figure]:
    """Draws every figure of a run, by name. In a notebook each shows itself."""
    return {entry.name: page for entry, page in _pages(run)}


def render(run: Run, folder: Path, formats: Sequence[str] = FORMATS) -> None:
    """Writes `figures/NAME.png` and `report.pdf`.

    Args:
        run: what to draw.
        folder: where; it must exist.
        formats: `png`, `pdf` or both.

    Raises:
        SinkscopeError: for an unknown format.
    """
    unknown = sorted(set(formats) - set(FORMATS))
    if unknown:
        raise SinkscopeError(f"a report is made as {' or '.join(FORMATS)}, not as {unknown[0]}", exit_code=2)
    pages = _pages(run)
    with style.drawing():
        if "png" in formats:
            (folder / FIGURES).mkdir(exist_ok=True)
            for entry, page in pages:
                page.savefig(folder / FIGURES / f"{entry.name}.png", format="png", metadata={"Software": None})
        if "pdf" in formats:
            with PdfPages(folder / REPORT, metadata=_metadata(run)) as pdf:
                for _, page in pages:
                    pdf.savefig(page)


def _pages(run: Run) -> list[tuple[Entry, Page]]:
    shown = entries(run)
    with style.drawing():
        return [(entry, _page(entry, run, f"{number} / {len(shown)}")) for number, entry in enumerate(shown, start=1)]


def _page(entry: Entry, run: Run, number: str) -> Page:
    """One finished page. Its layout is computed once, here, and then kept for every format."""
    page = entry.draw(run)
    foot = f"sinkscope {run.info['sinkscope']}, page {number}"
    page.label(entry.title, kind_of(run).subtitle(run), entry.caption, foot)
    page.draw_without_rendering()
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
