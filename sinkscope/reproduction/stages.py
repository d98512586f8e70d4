"""A stage: one verb's work on its way into a folder of its own, done once.

Beside the folders lies a note per stage, in `stages/`: first the request that the stage was begun for, and once its
run is whole the hashes of the run's files too. A stage whose note has both, for the same request and the same inputs,
is finished and stays; one that was begun for the same request goes on where its verb can; any other is made anew. What
depends on a stage has its files among its own inputs, so that whatever changes is carried down the chain.

A stage that its model is not made for (INT8 probes on fused experts) is left out where others can do without: its note
has the reason in place of hashes.

Work on the same request is the same to the last bit, whether it was interrupted or not.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sinkscope.errors import RequestError, UnsuitedError
from sinkscope.files.failures import explained_failures
from sinkscope.files.sealed import DamagedError, check_hashes, content_hash, hashes, read_sealed, write_sealed
from sinkscope.files.whole import make_folders, remove_empty
from sinkscope.inputs import Output
from sinkscope.results import Result
from sinkscope.tables.run_folder import check_target
from sinkscope.version import __version__

NOTES = "stages"
_REQUEST, _FILES, _LEFT_OUT = "request", "files", "left_out"


@dataclass(frozen=True)
class Stage:
    """One stage after the trainings.

    Attributes:
        name: the folder of its run below the reproduction's, as `analyze/mini-seed-0`.
        request: everything that its run depends on but its inputs, JSON-serializable.
        inputs: folders that it reads.
        work: makes the result; what it gets says where the run goes, and whether to go on with unfinished work.
        command: the same by hand.
        passes: windows forward and back that it takes, about.
        spared: whether the rest is made without it where its model is not made for it.
    """

    name: str
    request: dict[str, Any]
    inputs: tuple[Path, ...]
    work: Callable[[Output], Result]
    command: str
    passes: float
    spared: bool = False


def settle(stage: Stage, place: Path) -> str:
    """Makes a stage's run, or goes on with one that was begun for the same request.

    Args:
        stage: the stage; its inputs are whole.
        place: the reproduction's folder.

    Returns:
        Why it was left out; empty where it was made.

    Raises:
        RequestError: if something else lies where its run goes, or for what the verb refuses.
    """
    request, before = _full(stage, place), _noted(stage.name, place)
    same = before is not None and before[_REQUEST] == request and not before.keys() & {_FILES, _LEFT_OUT}
    folder = place / stage.name
    _check_replaceable(folder)
    with explained_failures(place):
        made = [*make_folders(folder.parent), *make_folders(_note(stage.name, place).parent)]
    _write_note(stage.name, place, {_REQUEST: request})
    try:
        result = stage.work(Output(folder, force=not same, resume=same))
    except RequestError:  # what could never work leaves nothing behind, so that it can be asked for differently
        if before is None:
            _note(stage.name, place).unlink()
            remove_empty(made)
        raise
    except UnsuitedError as error:
        if not stage.spared:
            raise
        _write_note(stage.name, place, {_REQUEST: request, _LEFT_OUT: str(error)})
        remove_empty(made)
        return str(error)
    result.info["command"] = stage.command
    result.save(folder, force=True)
    _write_note(stage.name, place, {_REQUEST: request, _FILES: hashes(folder)})
    return ""


def left_out(name: str, place: Path) -> str:
    """Why a stage was left out when it was last settled; empty where it was made."""
    return str((_noted(name, place) or {}).get(_LEFT_OUT, ""))


def _check_replaceable(folder: Path) -> None:
    try:
        check_target(folder, force=True)
    except RequestError as error:
        raise RequestError(
            f"{folder} is not the run that was left there, or holds files of yours: move it away, and the same command "
            "with `resume` makes it anew"
        ) from error


def is_finished(stage: Stage, place: Path) -> bool:
    """Whether a stage's run is there, whole, and of this very request; or it was left out for it."""
    note = _noted(stage.name, place)
    if note is None or not note.keys() & {_FILES, _LEFT_OUT} or note[_REQUEST] != _full(stage, place):
        return False
    try:
        check_hashes(place / stage.name, note.get(_FILES, {}))
    except DamagedError:
        return False
    return True


def _full(stage: Stage, place: Path) -> dict[str, Any]:
    inputs = {
        folder.relative_to(place).as_posix() if folder.is_relative_to(place) else str(folder): _content(folder, place)
        for folder in stage.inputs
    }
    request = {**stage.request, "stage": stage.name, "inputs": inputs, "sinkscope": __version__}
    return dict(json.loads(json.dumps(request)))  # as it is read back


def _content(folder: Path, place: Path) -> str:
    """What a stage depends on in a folder: its files, or why the stage that would have made them was left out."""
    if folder.is_relative_to(place) and (reason := left_out(folder.relative_to(place).as_posix(), place)):
        return reason
    return content_hash(hashes(folder))


def _noted(name: str, place: Path) -> dict[str, Any] | None:
    """The note of a stage; a damaged one is none."""
    try:
        return read_sealed(_note(name, place))
    except DamagedError:
        return None


def _write_note(name: str, place: Path, content: dict[str, Any]) -> None:
    with explained_failures(_note(name, place)):
        write_sealed(_note(name, place), content, indent=1)


def _note(name: str, place: Path) -> Path:
    return place / NOTES / f"{name.replace('/', '--')}.json"
