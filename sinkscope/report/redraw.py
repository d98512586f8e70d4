"""A report made anew from a run folder's tables, whole or not at all.

Everything is drawn into a folder beside the target and moved into place afterwards, one by one, so that a report that
fails on the way leaves the older one as it was.
"""

from collections.abc import Sequence
from pathlib import Path

from sinkscope.errors import RequestError, SinkscopeError
from sinkscope.files import folder_beside, move_into_place
from sinkscope.report.figure import files
from sinkscope.report.figure.made import COLUMN, check_style
from sinkscope.report.kinds import kind_of
from sinkscope.report.render import DEFAULT, check_formats, render
from sinkscope.tables.run_folder import read_run


def redraw(
    folder: Path,
    formats: Sequence[str] | None = None,
    out: Path | None = None,
    *,
    force: bool = False,
    style: str = "page",
    width: float = COLUMN,
) -> list[Path]:
    """Draws the report of a run folder.

    Args:
        folder: the run folder; its tables are all that is read.
        formats: of `png`, `pdf`, `html`, `svg`, `md` and `tex`; None takes the first three, and `pdf` for a paper.
        out: where the report goes; None puts it into the run folder, over the one that is there.
        force: write into an existing `out`, over an older report.
        style: `page` for the report, `paper` for its figures alone, one file each in a folder `paper`.
        width: inches, of figures for a paper.

    Returns:
        What was written: `figures`, `report.pdf`, `report.html` and `headline.md` or `.tex` as asked for, or `paper`.

    Raises:
        SinkscopeError: for a folder that holds no run, a kind of run that has no report, an unknown format, or a place
            that is taken or cannot be written.
    """
    check_style(style)
    if style == "paper":
        formats = files.DEFAULT if formats is None else formats
        files.check(formats, width)
    else:
        formats = DEFAULT if formats is None else formats
        check_formats(formats)
    run = read_run(folder)
    kind_of(run)
    target = (out if out is not None else folder).absolute()
    if out is not None and out.exists() and not (force and out.is_dir()):
        raise RequestError(f"{out} exists: choose another `out`, or `force` to write into a folder")
    try:
        with folder_beside(target) as building:
            if style == "paper":
                files.write_figures(run, building, formats, width)
            else:
                render(run, building, formats)
            target.mkdir(exist_ok=True)
            drawn = sorted(building.iterdir())
            for path in drawn:
                move_into_place(path, target / path.name)
    except OSError as error:
        raise SinkscopeError(f"cannot write {target}: {error.strerror or error}") from error
    return [target / path.name for path in drawn]
