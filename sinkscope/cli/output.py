"""Where a verb's result goes: its folder, and what the terminal shows of it."""

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from sinkscope.tables.run_folder import Run


def command_line() -> str:
    """The command that was typed, for provenance."""
    return shlex.join(["sinkscope", *sys.argv[1:]])


def show(run: "Run", folder: Path, *, json: bool = False) -> None:
    """Prints what a finished run found, and where it is.

    Args:
        run: the run.
        folder: where it was written.
        json: print its run.json instead, and nothing else.
    """
    if json:
        from sinkscope.tables.run_folder import INFO_FILE

        typer.echo((folder / INFO_FILE).read_text(encoding="utf-8"))
        return
    from rich.console import Console

    from sinkscope.report.kinds import kind_of

    summary = kind_of(run).summary(run)
    if sys.stdout.isatty():
        Console().print(summary)
    else:
        typer.echo(str(summary))
    typer.echo(f"tables, figures and report.pdf: {folder}")


def default_folder(model: str) -> Path:
    """`runs/<model>`: a folder's own name, or a Hub id with its owner."""
    path = Path(model).expanduser()
    return Path("runs") / (path.resolve().name if path.is_dir() else "--".join(path.parts[-2:]))
