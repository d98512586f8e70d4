"""A run on disk: `run.json` and one parquet file per table, written whole or not at all.

The folder is the seam between measuring and everything that comes after: reports, comparisons and notebooks read run
folders, never models. It is built beside its place and then takes it (see `sinkscope.files`), so that an interrupted
run leaves nothing behind and a complete one is never half replaced. The folder has a list of its own files, and only
what is on it is ever replaced.
"""

import json
import math
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from sinkscope.documents.complaint import shown
from sinkscope.documents.read import check, read_json
from sinkscope.errors import RequestError, SinkscopeError
from sinkscope.files.beside import free_name
from sinkscope.files.failures import explained_failures
from sinkscope.files.listed import LIST, foreign, listed, named, remove_listed, write_list
from sinkscope.files.owner import owned
from sinkscope.files.whole import building_folder, make_folders, remove_empty
from sinkscope.inside import inside, refuse_unreadable_name
from sinkscope.provenance.begin import SCHEMA, ordered
from sinkscope.provenance.declared import KINDS
from sinkscope.provenance.document import Kind, document_of
from sinkscope.tables.stored import limits, read_table
from sinkscope.terminal import logger

INFO_FILE = "run.json"
_log = logger(__name__)
_LONGEST = 100  # letters of a name that a line of description shows


class MissingTableError(RequestError, KeyError):
    """A table that a run does not have; a `KeyError` that says which it has."""

    __str__ = Exception.__str__  # KeyError's puts quotes around it


@dataclass(frozen=True, repr=False)
class Run:
    """One measured run.

    Attributes:
        info: provenance, settings and headline numbers; JSON-serializable, written as run.json.
        tables: data frames by table name, as declared in `sinkscope.tables.columns`. A table that does not apply
            (`vscale` without V-scale) is absent; columns that were not measured (`backward=False`) hold nulls.
    """

    info: dict[str, Any]
    tables: dict[str, pd.DataFrame]

    def __getitem__(self, name: str) -> pd.DataFrame:
        """The table `name`.

        Raises:
            MissingTableError: if there is none.
        """
        if name not in self.tables:
            raise MissingTableError(no_table(name, self))
        return self.tables[name]

    def __repr__(self) -> str:
        return described(self, type(self).__name__)

    @property
    def headline(self) -> dict[str, Any]:
        """The headline numbers."""
        return dict(self.info["headline"])

    @property
    def backward(self) -> bool:
        """Whether gradients were measured."""
        return bool(self.info["settings"]["backward"])


def no_table(name: object, run: Run) -> str:
    """That a run has no such table, and which it has."""
    return f"there is no table '{name}'; there are {', '.join(run.tables) or 'none'}"


def described(run: Run, name: str) -> str:
    """A run in two lines: what was measured, and its tables."""
    info = run.info
    models = [info["model"]] if "model" in info else [*info.get("models", ()), *info.get("runs", ())]
    names = ", ".join(ascii(str(model.get("name")))[1:-1] for model in models)
    data = info.get("data") or {}
    text = f" on {ascii(str(data['source']))[1:-1]}" if "source" in data else ""
    size = f", {data['sequences']} x {data['tokens']} tokens" if {"sequences", "tokens"} <= data.keys() else ""
    what = f"{info.get('kind', 'run')} of {names}" if names else str(info.get("kind", "run"))
    return f"<{name}: {_cut(what)}{_cut(text)}{size}\n tables: {', '.join(map(str, run.tables)) or 'none'}>"


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def read_run(folder: str | Path) -> Run:
    """Reads a run folder.

    Raises:
        SinkscopeError: if the folder holds no run, a run of another schema, or what is not as it is declared.
    """
    folder = Path(folder).expanduser()
    if not (folder / INFO_FILE).exists():
        raise RequestError(f"{folder} is not a run folder: it has no {INFO_FILE}")
    place = str(folder / INFO_FILE)
    info: dict[str, Any] = read_json(folder / INFO_FILE)
    kind = check(info, Kind, place)
    if kind.schema_ != SCHEMA:
        raise SinkscopeError(f"{place} has schema {kind.schema_}, this version reads {SCHEMA}: analyze again")
    if kind.kind not in KINDS:
        raise SinkscopeError(f"{place}: 'kind' must be one of {', '.join(KINDS)}, not {shown(kind.kind)}")
    check(info, document_of(kind.kind), place)
    tables = {name: read_table(inside(folder, f"{name}.parquet", place), name, limits(info)) for name in info["tables"]}
    return Run(info, tables)


def check_is_run(folder: Path) -> None:
    """Refuses a folder without a run, which `read_run` would refuse too, at no cost.

    Raises:
        SinkscopeError: if there is none.
    """
    if not (folder / INFO_FILE).is_file():
        raise RequestError(f"{folder} is not a run folder: it has no {INFO_FILE}")


def check_target(folder: Path, *, force: bool) -> None:
    """Refuses, before any work is done, an output folder that could not be written in the end.

    Raises:
        SinkscopeError: if `folder` is a link or no folder, if it holds something and `force` is off, if it holds what
            is not on its own list of files, or if its parent cannot be written.
    """
    refuse_unreadable_name(folder)
    if folder.is_symlink():
        raise RequestError(f"{folder} is a link: name the folder that it leads to, or choose another `out`")
    if folder.exists():
        if not folder.is_dir():
            raise RequestError(f"{folder} exists and is not a folder: choose another `out`")
        if any(folder.iterdir()):
            _check_replaceable(folder, force=force)
    parent = folder.absolute().parent
    with explained_failures(folder):
        made = make_folders(parent)
        with tempfile.TemporaryFile(dir=parent):
            pass
    remove_empty(made)  # who writes makes them again, and who fails before that leaves nothing behind


def _check_replaceable(folder: Path, *, force: bool) -> None:
    if not force:
        raise RequestError(f"{folder} exists: choose another `out`, or `force` to replace a run")
    if not (folder / INFO_FILE).is_file():
        raise RequestError(f"{folder} holds no {INFO_FILE}, so `force` leaves it alone: choose another `out`")
    if listed(folder) is None:
        raise RequestError(
            f"{folder} has no list of the files that sinkscope wrote ({LIST}), so `force` leaves it alone: choose "
            "another `out`, or remove it yourself"
        )
    others = foreign(folder)
    if others:
        raise RequestError(
            f"{folder} holds {named(others)}, which sinkscope did not write there, so `force` leaves it alone: move "
            "that elsewhere, or choose another `out`"
        )


def write_run(run: Run, folder: Path, *, force: bool = False, finish: Callable[[Path], None] | None = None) -> None:
    """Writes a run folder whole or not at all.

    Args:
        run: what to write.
        folder: its place; missing parents are made.
        force: replace an existing run folder, of which nothing goes but what is on its own list of files.
        finish: called with the folder under construction before it is renamed, to add figures and the report.

    Raises:
        SinkscopeError: if the place is taken or cannot be written.
    """
    with owned(folder):
        check_target(folder, force=force)
        retire = partial(_retire, folder)
        with explained_failures(folder), building_folder(folder.absolute(), retire=retire) as building:
            info = ordered({**run.info, "schema": SCHEMA, "tables": list(run.tables)})
            for name, table in run.tables.items():
                table.to_parquet(building / f"{name}.parquet", index=False)
            (building / INFO_FILE).write_text(json.dumps(_finite(info), indent=1, allow_nan=False), encoding="utf-8")
            if finish is not None:
                finish(building)
            write_list(building)


def _retire(folder: Path, old: Path) -> None:
    """Removes the run that was replaced; what came into it after it was looked at is kept, and named."""
    if not remove_listed(old):
        kept = free_name(folder, "kept")
        kept = kept.with_name(kept.name.removeprefix("."))
        old.rename(kept)
        _log.warning("%s held files of yours: they are in %s now", folder, kept)


def _finite(value: Any) -> Any:
    """JSON has no NaN: what was not measured is null."""
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
