"""What the arguments of `compare` stand for: run folders to read, models to analyze, and the names of both.

Everything that can be wrong about a folder is found before the first model is loaded. Models are analyzed like the
first run that is known, be it a folder or a model analyzed before them, so that identical conditions need no options.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from sinkscope.analysis.settings import AnalysisRequest
from sinkscope.capture.settings import Settings
from sinkscope.comparison.settings import ComparisonRequest
from sinkscope.errors import RequestError, SinkscopeError
from sinkscope.inputs import DEFAULT_SEQUENCES, TextSource, Windows
from sinkscope.names import PACKAGED, looks_like_a_path
from sinkscope.tables.run_folder import Run, read_run

_RUN, _MODEL, _GGUF = "run.json", "config.json", "*.gguf"
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
    named = [Member(name or titles[sources[0]], source) for name, sources in given for source in sources]
    places = Counter(str(Path(member.source).expanduser().resolve()) for member in named)
    for member in named:
        if places[str(Path(member.source).expanduser().resolve())] > 1:
            raise RequestError(f"{member.source} is given twice")
        _check(member)
    return named


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
    if member.source in PACKAGED:
        return
    if path.is_dir() and not member.is_run and not (path / _MODEL).is_file() and not any(path.glob(_GGUF)):
        raise RequestError(
            f"{member.source} is neither a run folder (it has no {_RUN}) nor a model (it has no {_MODEL})"
        )
    if path.is_file() and not path.match(_GGUF):
        raise RequestError(f"{member.source} is a file: name a run folder or a model")
    if not path.exists() and looks_like_a_path(member.source):
        raise SinkscopeError(f"there is no folder {member.source}")


def gather(chosen: Sequence[Member], request: ComparisonRequest) -> list[Run]:
    """Reads run folders and analyzes models.

    Args:
        chosen: of `members`.
        request: how models are loaded, and what they read.

    Raises:
        SinkscopeError: for what cannot be read, loaded or measured.
    """
    runs = {member: read_run(Path(member.source).expanduser()) for member in chosen if member.is_run}
    like = next((run for run in runs.values() if run.info.get("kind") == "analysis"), None)
    models = [member for member in chosen if member not in runs]
    if len(models) > 1:
        from sinkscope.loading.load import check_named

        for member in models[1:]:
            check_named(replace(request.model, name=member.source))
    for number, member in enumerate(models):
        from sinkscope.analysis.run import run_analysis  # loads torch, which comparing run folders does not need

        analysis = run_analysis(_analysis(member.source, like, request), models=len(models) - number)
        if request.command is not None:
            analysis.info["command"] = request.command
        runs[member] = analysis.run
        like = like or analysis.run
    return [runs[member] for member in chosen]


def _analysis(model: str, like: Run | None, request: ComparisonRequest) -> AnalysisRequest:
    """The analysis of a model: under the conditions of a known run, but for what was asked for."""
    settings = Settings()
    text, sequences, tokens, bos, isolated = TextSource(), DEFAULT_SEQUENCES, None, Windows.bos, False
    if like is not None:
        known = like.info["data"]
        text = TextSource.from_json({**known, "data": known["source"]})
        sequences, tokens = known["sequences"], known["tokens"]
        bos, isolated = _BOS[known.get("bos")], known.get("isolated_documents", False)
        settings = Settings(**{key: like.info["settings"][key] for key in Settings.__dataclass_fields__})
    asked = request.like
    return AnalysisRequest(
        model=replace(request.model, name=model),
        method=request.method,
        text=_text(text, request),
        windows=Windows(
            bos=bos,
            sequences=sequences if asked.sequences is None else asked.sequences,
            tokens=tokens if asked.tokens is None else asked.tokens,
            batch_size=asked.batch_size,
            isolate_documents=isolated,
        ),
        settings=settings,
    )


def _text(known: TextSource, request: ComparisonRequest) -> TextSource:
    """The text of a known run, read as it was, but for what was asked for; another text is read as asked for."""
    if request.like.data is not None:
        return replace(request.text, data=request.like.data)
    asked = {name: value for name, value in request.text.provenance().items() if name != "source"}
    return replace(known, **asked)
