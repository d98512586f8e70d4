"""The figures of a run as files for a paper, one each."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sinkscope.errors import RequestError
from sinkscope.progress.display import counted
from sinkscope.report import style
from sinkscope.report.figure.made import COLUMN, alone, check_width, drawable
from sinkscope.tables.run_folder import Run

FORMATS = ("pdf", "svg", "png")
DEFAULT = ("pdf",)
FOLDER = "paper"
UNDATED: dict[str, dict[str, Any]] = {
    "pdf": {"CreationDate": None, "Producer": None, "Creator": None},
    "svg": {"Date": None, "Creator": None},
    "png": {"Software": None},
}
"""By format, metadata without a date or a version, so that the same run gives the same bytes."""


def check(formats: Sequence[str], width: float) -> None:
    """Refuses what no figure for a paper is made as.

    Raises:
        RequestError: for another format, or a width outside of 3.3 to 11 inches.
    """
    unknown = sorted(set(formats) - set(FORMATS))
    if unknown or not formats:
        named = f", not as {unknown[0] or 'nothing'}" if unknown else ""
        raise RequestError(f"figures for papers (`style=paper`) are made as {' or '.join(FORMATS)}{named}")
    check_width(width)


def write_figures(run: Run, folder: Path, formats: Sequence[str] = DEFAULT, width: float = COLUMN) -> None:
    """Writes `paper/NAME.pdf` and the like into a folder that exists."""
    check(formats, width)
    (folder / FOLDER).mkdir()
    for entry in counted(drawable(run), "drawing figure"):
        figure = alone(entry, run, width)
        with style.drawing():
            for name in formats:
                figure.savefig(folder / FOLDER / f"{entry.name}.{name}", metadata=UNDATED[name])
