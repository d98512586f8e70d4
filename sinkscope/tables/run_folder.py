"""A run on disk: `run.json` and one parquet file per table, written whole or not at all.

The folder is the seam between measuring and everything that comes after: reports, comparisons and notebooks read run
folders, never models. It is built beside its place and renamed (see `sinkscope.files`), so that an interrupted run
leaves nothing behind and a complete one is never half replaced.
"""

import json
import math
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from sinkscope.documents.complaint import shown
from sinkscope.documents.read import check, read_json
from sinkscope.errors import RequestError, SinkscopeError
from sinkscope.files import building_folder, make_folders, remove_empty
from sinkscope.provenance.begin import SCHEMA, ordered
from sinkscope.provenance.declared import KINDS
from sinkscope.provenance.document import Kind, document_of
from sinkscope.tables.stored import limits, read_table

INFO_FILE = "run.json"
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
    tables = {name: read_table(folder / f"{name}.parquet", name, limits(info)) for name in info["tables"]}
    return Run(info, tables)


def check_target(folder: Path, *, force: bool) -> None:
    """Refuses, before any work is done, an output folder that could not be written in the end.

    Raises:
        SinkscopeError: if `folder` exists and `force` is off, exists and is not a run folder, or its parent cannot be
            written.
    """
    if folder.exists():
        if not folder.is_dir():
            raise RequestError(f"{folder} exists and is not a folder: choose another `out`")
        if not force:
            raise RequestError(f"{folder} exists: choose another `out`, or `force` to replace a run")
        if not (folder / INFO_FILE).is_file():
            raise RequestError(f"{folder} holds no {INFO_FILE}, so `force` leaves it alone: choose another `out`")
    parent = folder.absolute().parent
    with _writing(folder):
        made = make_folders(parent)
        with tempfile.TemporaryFile(dir=parent):
            pass
    remove_empty(made)  # who writes makes them again, and who fails before that leaves nothing behind


def write_run(run: Run, folder: Path, *, force: bool = False, finish: Callable[[Path], None] | None = None) -> None:
    """Writes a run folder whole or not at all.

    Args:
        run: what to write.
        folder: its place; missing parents are made.
        force: replace an existing run folder.
        finish: called with the folder under construction before it is renamed, to add figures and the report.

    Raises:
        SinkscopeError: if the place is taken or cannot be written.
    """
    check_target(folder, force=force)
    with _writing(folder), building_folder(folder.absolute()) as building:
        info = ordered({**run.info, "schema": SCHEMA, "tables": list(run.tables)})
        for name, table in run.tables.items():
            table.to_parquet(building / f"{name}.parquet", index=False)
        (building / INFO_FILE).write_text(json.dumps(_finite(info), indent=1, allow_nan=False), encoding="utf-8")
        if finish is not None:
            finish(building)


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    """Turns the operating system's refusals into one line."""
    try:
        yield
    except OSError as error:
        raise SinkscopeError(f"cannot write {folder}: {error.strerror or error}") from error


def _finite(value: Any) -> Any:
    """JSON has no NaN: what was not measured is null."""
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
