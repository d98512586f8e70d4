"""A report made anew from a run folder's tables, whole or not at all.

Everything is drawn into a folder beside the target and moved into place afterwards, one by one, so that a report that
fails on the way leaves the older one as it was.
"""

from collections.abc import Sequence
from pathlib import Path

from sinkscope.errors import RequestError, SinkscopeError
from sinkscope.files import folder_beside, move_into_place
from sinkscope.report.kinds import kind_of
from sinkscope.report.render import check_formats, render
from sinkscope.tables.run_folder import read_run


def redraw(folder: Path, formats: Sequence[str], out: Path | None = None, *, force: bool = False) -> list[Path]:
    """Draws the report of a run folder.

    Args:
        folder: the run folder; its tables are all that is read.
        formats: `png`, `pdf`, `html`, or several.
        out: where the report goes; None puts it into the run folder, over the one that is there.
        force: write into an existing `out`, over an older report.

    Returns:
        What was written: `figures`, `report.pdf` and `report.html`, as asked for.

    Raises:
        SinkscopeError: for a folder that holds no run, a kind of run that has no report, an unknown format, or a place
            that is taken or cannot be written.
    """
    check_formats(formats)
    run = read_run(folder)
    kind_of(run)
    target = (out if out is not None else folder).absolute()
    if out is not None and out.exists() and not (force and out.is_dir()):
        raise RequestError(f"{out} exists: choose another `out`, or `force` to write into a folder")
    try:
        with folder_beside(target) as building:
            render(run, building, formats)
            target.mkdir(exist_ok=True)
            drawn = sorted(building.iterdir())
            for path in drawn:
                move_into_place(path, target / path.name)
    except OSError as error:
        raise SinkscopeError(f"cannot write {target}: {error.strerror or error}") from error
    return [target / path.name for path in drawn]
