"""A report made anew from a run folder's tables, whole or not at all.

Everything is drawn into a folder beside the target and moved into place afterwards, file by file, so that a report that
fails on the way leaves the older one as it was.
"""

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from sinkscope.errors import RequestError, SinkscopeError
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
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{target.name}-", dir=target.parent) as building:
            render(run, Path(building), formats)
            target.mkdir(exist_ok=True)
            return [_moved(path, target / path.name) for path in sorted(Path(building).iterdir())]
    except OSError as error:
        raise SinkscopeError(f"cannot write {target}: {error.strerror or error}") from error


def _moved(path: Path, target: Path) -> Path:
    if target.is_dir():
        shutil.rmtree(target)
    path.rename(target)
    return target
