"""What the arguments of `compare` stand for: run folders to read, models to analyze, and the names of both.

Everything that can be wrong about a folder is found before the first model is loaded. Models are analyzed like the
first run that is known, be it a folder or a model analyzed before them, so that identical conditions need no options.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sinkscope.capture.settings import Settings
from sinkscope.cli.output import command_line
from sinkscope.errors import RequestError, SinkscopeError
from sinkscope.names import looks_like_a_path

if TYPE_CHECKING:
    from sinkscope.tables.run_folder import Run

_RUN, _MODEL = "run.json", "config.json"
_PACKAGED = Path(__file__).parents[1] / "packaged"
_BOS = {True: "always", False: "never", None: "auto"}


@dataclass(frozen=True)
class Member:
    """A compared run before it is read: its name, and where it comes from."""

    name: str
    source: str

    @property
    def is_run(self) -> bool:
        """Whether the source is a run folder."""
        return (Path(self.source).expanduser() / _RUN).is_file()


def members(arguments: Sequence[str]) -> list[Member]:
    """The runs that the arguments name, in order; seeds share a name.

    Args:
        arguments: `RUN`, `NAME=RUN`, or `NAME=RUN,RUN,...` each.

    Raises:
        SinkscopeError: for an empty name or source, a name given twice, a source given twice, or a folder that is
            neither a run nor a model.
    """
    given = [_parsed(argument) for argument in arguments]
    repeated = [name for name, count in Counter(name for name, _ in given if name).items() if count > 1]
    if repeated:
        raise RequestError(
            f"two arguments are named {repeated[0]}: seeds of one training go into one, {repeated[0]}=RUN,RUN"
        )
    taken = {name for name, _ in given if name}
    unnamed = [sources[0] for name, sources in given if not name]
    titles = _titles(unnamed, taken)
    found = [Member(name or titles[sources[0]], source) for name, sources in given for source in sources]
    places = Counter(str(Path(member.source).expanduser().resolve()) for member in found)
    for member in found:
        if places[str(Path(member.source).expanduser().resolve())] > 1:
            raise RequestError(f"{member.source} is given twice")
        _check(member)
    return found


def _parsed(argument: str) -> tuple[str, list[str]]:
    """A name, empty where none is given, and the sources under it."""
    if "=" not in argument or Path(argument).expanduser().exists():
        return "", [argument]
    name, _, rest = argument.partition("=")
    sources = rest.split(",")
    if not name or not all(sources):
        raise RequestError(f"a run is named as NAME=RUN, and seeds as NAME=RUN,RUN, not as {argument}")
    return name, sources


def _titles(sources: list[str], taken: set[str]) -> dict[str, str]:
    """Names for sources without one: the last part of their path, and more of it where that is not enough."""
    titles = {}
    for source in sources:
        parts = Path(source).expanduser().resolve().parts if Path(source).exists() else Path(source).parts
        others = [other for other in sources if other != source]
        for length in range(1, len(parts) + 1):
            title = "/".join(parts[-length:])
            alike = any(Path(other).expanduser().resolve().parts[-length:] == parts[-length:] for other in others)
            if not alike and title not in taken:
                break
        titles[source] = title
    return titles


def _check(member: Member) -> None:
    path = Path(member.source).expanduser()
    if (_PACKAGED / member.source / _MODEL).is_file():
        return
    if path.is_dir() and not member.is_run and not (path / _MODEL).is_file():
        raise RequestError(
            f"{member.source} is neither a run folder (it has no {_RUN}) nor a model (it has no {_MODEL})"
        )
    if path.is_file():
        raise RequestError(f"{member.source} is a file: name a run folder or a model")
    if not path.exists() and looks_like_a_path(member.source):
        raise SinkscopeError(f"there is no folder {member.source}")


def gather(
    chosen: Sequence[Member],
    *,
    data: str | None,
    data_options: dict[str, Any],
    sequences: int | None,
    tokens: int | None,
    batch_size: int,
    progress: bool,
    **loading: Any,
) -> "list[Run]":
    """Reads run folders and analyzes models.

    Args:
        chosen: of `members`.
        data: text for models; None takes that of the first known run, else `stdlib`.
        data_options: as of `sinkscope.analyze`.
        sequences: N for models; None as in the first known run, else 32.
        tokens: T for models; None as in the first known run, else the model's context.
        batch_size: sequences per forward pass.
        progress: show progress on stderr.
        **loading: options of `sinkscope.loading.load.load_model`.

    Raises:
        SinkscopeError: for what cannot be read, loaded or measured.
    """
    from sinkscope.tables.run_folder import read_run

    runs = {member: read_run(Path(member.source).expanduser()) for member in chosen if member.is_run}
    like = next((run for run in runs.values() if run.info.get("kind") == "analysis"), None)
    for member in chosen:
        if member in runs:
            continue
        from sinkscope.analysis import run as api

        analysis = api.analyze(
            member.source,
            data_options=data_options,
            batch_size=batch_size,
            progress=progress,
            **_conditions(like, data=data, sequences=sequences, tokens=tokens),
            **loading,
        )
        analysis.info["command"] = command_line()
        runs[member] = analysis.run
        like = like or analysis.run
    return [runs[member] for member in chosen]


def _conditions(like: "Run | None", **given: Any) -> dict[str, Any]:
    """The conditions of an analysis: those of a known run, but for what was asked for."""
    found: dict[str, Any] = {"data": "stdlib", "sequences": 32, "tokens": None}
    if like is not None:
        data = like.info["data"]
        settings = {key: like.info["settings"][key] for key in Settings.__dataclass_fields__}
        found = {
            "data": data["source"],
            "sequences": data["sequences"],
            "tokens": data["tokens"],
            "bos": _BOS[data.get("bos")],
            "isolate_documents": data.get("isolated_documents", False),
            "settings": Settings(**settings),
        }
    return {**found, **{key: value for key, value in given.items() if value is not None}}
