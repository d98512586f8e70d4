"""Processes that kill themselves before their n-th call to the system that changes a folder, as targets of `forks`.

Python tells an audit hook of every file that is opened and every name that is moved or removed; our own exchange of two
names tells it too. Only fsync is patched. So every moment between two changes of the disk can be struck, one by one.
"""

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import pandas as pd

from sinkscope.files.exchange import EVENT

_NAMES = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.truncate", EVENT}


def strike(folder: Path, at: int) -> None:
    """Kills this process before its n-th change below a folder; 0: never. It writes every change to stdout.

    Args:
        folder: changes elsewhere do not count.
        at: which one.
    """
    seen, around = 0, str(folder)

    def count(name: str) -> None:
        nonlocal seen
        seen += 1
        print(name, flush=True)
        if seen == at:
            os.kill(os.getpid(), signal.SIGKILL)

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
        if (event in _NAMES or writes) and str(arguments[0]).startswith(around):
            count(event)

    sync = os.fsync

    def synced(descriptor: int) -> None:
        count("os.fsync")
        sync(descriptor)

    sys.addaudithook(hook)
    os.fsync = synced


def run_of(version: str) -> Any:
    """A run that says everywhere which version it is."""
    from sinkscope.tables.run_folder import Run

    return Run({"kind": version}, {"one": pd.DataFrame({"version": [version]}), "two": pd.DataFrame({"of": [version]})})


def stored(place: Path) -> Any:
    """The run on disk, which is of no kind that is declared."""
    from sinkscope.tables.run_folder import Run

    info = json.loads((place / "run.json").read_text())
    return Run(info, {name: pd.read_parquet(place / f"{name}.parquet") for name in info["tables"]})


def draw(version: str, folder: Path) -> None:
    """A report that does, too."""
    (folder / "figures").mkdir()
    for name in ("figures/a.png", "figures/b.png", "report.pdf", "report.html"):
        (folder / name).write_text(version)


def replaces(place: str, version: str, at: int) -> None:
    """Writes a run in place of an older one."""
    from sinkscope.tables.run_folder import write_run

    strike(Path(place).parent, at)
    write_run(run_of(version), Path(place), force=True, finish=lambda folder: draw(version, folder))


def redraws(place: str, version: str, at: int) -> None:
    """Draws the report of a run anew."""
    from sinkscope.report import redraw

    redraw.read_run = stored  # type: ignore[assignment]
    redraw.kind_of = lambda run: run  # type: ignore[assignment,return-value]
    redraw.render = lambda _run, folder, _formats: draw(version, folder)  # type: ignore[assignment]
    strike(Path(place).parent, at)
    redraw.redraw(Path(place))


def keeps(place: str, _version: str, at: int) -> None:
    """Saves three states of an analysis, goes on from what was there before, and throws all away at the end."""
    from sinkscope.analysis.journal import Journal
    from sinkscope.capture.recorder import Recorder
    from sinkscope.capture.settings import Settings
    from sinkscope.files.owner import owned

    strike(Path(place).parent, at)
    with owned(Path(place)):
        journal = Journal(Path(place), {"any": 1}, resume=True, force=False)
        saved = journal.load()
        for done in range(0 if saved is None else saved.done, 3):
            journal.save(Recorder(Settings(), 2), done + 1, [0.5] * (done + 1), force=True)
        journal.discard()


def holds(place: str, note: str) -> int:
    """Owns a place until a file is gone; ends with 3, and says why, where somebody else owns it."""
    import time

    from sinkscope.errors import SinkscopeError
    from sinkscope.files.owner import owned

    try:
        with owned(Path(place)):
            Path(note).touch()
            while Path(note).exists():
                time.sleep(0.01)
    except SinkscopeError as error:
        print(error, file=sys.stderr)
        return 3
    return 0


def trains(place: str, recipe: str, at: int) -> None:
    """Trains for four steps with a checkpoint after two, from what is there."""
    from sinkscope.pretraining.run import pretrain
    from sinkscope.training.recipe import load_recipe

    chosen = load_recipe(Path(recipe), {"schedule": {"steps": 4}, "checkpoint": {"every": 2}})
    strike(Path(place).parent, at)
    pretrain(chosen, Path(place), resume=True)
