"""A report made anew from a run folder's tables, whole or not at all.

Everything is drawn into a folder beside the target, which takes the target's place at once (`files.renewed`): a report
that fails or is killed on the way leaves the older one as it was. Files that sinkscope did not write there stay.
"""

import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from sinkscope.errors import RequestError, SinkscopeError
from sinkscope.files.failures import explained_failures
from sinkscope.files.listed import walked, write_list
from sinkscope.files.owner import owned
from sinkscope.files.renewed import renew
from sinkscope.files.whole import folder_beside, move_into_place
from sinkscope.report.figure import files
from sinkscope.report.figure.made import COLUMN, check_style
from sinkscope.report.kinds import kind_of
from sinkscope.report.render import DEFAULT, check_formats, render
from sinkscope.tables.run_folder import INFO_FILE, read_run


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
    target = _target(folder, out, force=force)
    with owned(target), explained_failures(target), folder_beside(target) as building:
        drawn = building / "drawn"
        drawn.mkdir()
        with _as_stored(folder):
            if style == "paper":
                files.write_figures(run, drawn, formats, width)
            else:
                render(run, drawn, formats)
        written = [target / path.name for path in sorted(drawn.iterdir())]
        if target.exists():
            tables = [f"{name}.parquet" for name in run.tables]
            own = (*walked(drawn), INFO_FILE, *tables) if out is None else ()  # of a run of which no list was kept
            renew(target, drawn, own=own)
        else:
            write_list(drawn)
            move_into_place(drawn, target)
    return written


@contextmanager
def _as_stored(folder: Path) -> Iterator[None]:
    """Turns what drawing stumbles over into one line: each table of a run can be sound, and they not fit together.

    Raises:
        SinkscopeError: naming the folder, and where it was.
    """
    try:
        yield
    except (LookupError, ValueError, TypeError, ArithmeticError, AttributeError) as error:
        if isinstance(error, SinkscopeError):
            raise
        where = traceback.extract_tb(error.__traceback__)[-1]
        said = f"{type(error).__name__} in {Path(where.filename).name}, line {where.lineno}"
        raise SinkscopeError(f"the tables of {folder} do not fit together: analyze again ({said})") from error


def _target(folder: Path, out: Path | None, *, force: bool) -> Path:
    """The folder that gets the report.

    Raises:
        RequestError: if it is taken, or a link.
    """
    if out is None:
        return folder.resolve()
    if out.is_symlink():
        raise RequestError(f"{out} is a link: name the folder that it leads to, or choose another `out`")
    if out.exists() and not (out.is_dir() and (force or not any(out.iterdir()))):
        raise RequestError(f"{out} exists: choose another `out`, or `force` to write into a folder")
    return out.absolute()
