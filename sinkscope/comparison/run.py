"""`sinkscope.compare`: from run folders, and models, to a comparison.

comparison = sinkscope.compare(["runs/base", "runs/other"])
comparison["comparison"]           # a DataFrame: value, ratio, intervals and verdict of every metric and run
comparison.save("runs/comparison")  # the run folder, with figures and reports
"""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Unpack

from sinkscope.comparison.compare_runs import compare_runs
from sinkscope.comparison.conditions import QUANTIZATION
from sinkscope.comparison.members import gather, members
from sinkscope.comparison.settings import ComparisonRequest, ComparisonSettings, LikeFirst
from sinkscope.errors import RequestError
from sinkscope.inputs import MethodOptions, ModelSource, TextSource
from sinkscope.keywords import MethodFields, ModelFields, listing, made_of, refuse_unknown, text_source
from sinkscope.progress.display import showing, stage
from sinkscope.results import Result


class Comparison(Result):
    """A finished comparison: `run`, `info`, `headline`, its tables as attributes, `figures()` and `save(folder)`."""


class LoadingFields(ModelFields, MethodFields, total=False):
    """The fields of `ModelSource` but its name and of `MethodOptions`, as keyword arguments."""


@listing(ModelSource, MethodOptions)
def compare(
    runs: Sequence[str | Path],
    *,
    settings: ComparisonSettings | None = None,
    data: str | Path | TextSource | None = None,
    data_options: dict[str, Any] | None = None,
    sequences: int | None = None,
    tokens: int | None = None,
    batch_size: int = 1,
    progress: bool | None = None,
    **loading: Unpack[LoadingFields],
) -> Comparison:
    """Compares runs, or models measured alike, with the first of them.

    Args:
        runs: run folders of `analyze`, or models, which are analyzed like the first run that is known. `NAME=RUN` names
            a run, `NAME=RUN,RUN,RUN` makes one of several seeds. Folders of `quantize` are shown side by side too.
        settings: how they are compared.
        data: text for models, also as a `TextSource`; by default that of the first run, else `stdlib`.
        data_options: the other fields of `TextSource` (config, split, streaming, column, special_tokens).
        sequences: windows for models; by default as in the first run, else 32.
        tokens: their length; by default as in the first run.
        batch_size: windows per forward pass.
        progress: show the plan, the stages and the time left on stderr; by default on terminals and in notebooks.
        **loading: the fields of `ModelSource` but its name (dtype, device, quantize, ...) and of `MethodOptions`
            (calibration_data, ...), for every model.

    Raises:
        SinkscopeError: for bad input, in one line.
    """
    refuse_unknown(loading, LoadingFields, compare)
    given = [runs] if isinstance(runs, str | Path) else list(runs)
    if not all(isinstance(run, str | Path) for run in given):
        raise RequestError("runs are named by their folders, and models by name: save a run that is in memory first")
    text = text_source(TextSource.data if data is None else data, data_options)
    request = ComparisonRequest(
        runs=tuple(map(str, given)),
        settings=settings or ComparisonSettings(),
        model=made_of(ModelSource, loading),
        method=made_of(MethodOptions, loading),
        text=text,
        like=LikeFirst(None if data is None else text.data, sequences, tokens, batch_size),
    )
    return run_comparison(request, progress=progress)


@showing
def run_comparison(request: ComparisonRequest, *, progress: bool | None = None) -> Comparison:  # noqa: ARG001
    """Makes the comparison that a request asks for.

    Args:
        request: the comparison.
        progress: show the plan, the stages and the time left on stderr; by default on terminals and in notebooks.

    Raises:
        SinkscopeError: for bad input, in one line.
    """
    chosen = members(request.runs)
    named = list(zip([member.name for member in chosen], gather(chosen, request), strict=True))
    stage("comparing")
    analyses = [(name, run) for name, run in named if run.info.get("kind") != QUANTIZATION]
    run = compare_runs(
        [run for _, run in analyses],
        [name for name, _ in analyses],
        **asdict(request.settings),
        quantized={name: run for name, run in named if run.info.get("kind") == QUANTIZATION},
    )
    return Comparison(run)
