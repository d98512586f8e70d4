"""`sinkscope.quantize`: what each method costs each model, on the same windows of text.

result = sinkscope.quantize(["demo", "demo-vscale"], ["none", "w8a8-static", "nf4"])
result.quantization                    # a DataFrame, as declared in docs/tables.md
result.save("runs/quantization")       # the run folder, with figures and reports
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Unpack

from transformers import PreTrainedTokenizerBase

from sinkscope.errors import RequestError
from sinkscope.inputs import ModelSource, Output, TextSource, Windows
from sinkscope.keywords import ModelFields, OutputFields, WindowFields, listing, made_of, refuse_unknown, text_source
from sinkscope.loading.load import check_named
from sinkscope.methods.choose import Chosen, check_modules, choose
from sinkscope.mitigations.mitigation import Mitigation
from sinkscope.mitigations.registry import mitigations_of
from sinkscope.names import NONE
from sinkscope.progress.display import showing
from sinkscope.quantization.measurements import Measurements
from sinkscope.quantization.one_model import measure_model
from sinkscope.quantization.run_info import run_of
from sinkscope.quantization.saving import rows_to_save
from sinkscope.quantization.settings import DEFAULT, QuantizationRequest, QuantizationSettings, SettingsFields
from sinkscope.quantization.state import KIND, State, kept_for
from sinkscope.results import Result
from sinkscope.text.sources import open_text
from sinkscope.unfinished import refuse_unfinished

RANKED_BY = "w8a8-static"  # where it is among the methods; else the first probe


class Quantization(Result):
    """A finished run: `run`, `info`, `headline`, its tables as attributes, `figures()` and `save(folder)`."""


class QuantizationFields(ModelFields, WindowFields, OutputFields, SettingsFields, total=False):
    """The fields of `ModelSource`, `Windows`, `Output` and `QuantizationSettings`, as keyword arguments."""


@listing(QuantizationSettings, ModelSource, Windows, Output)
def quantize(
    models: str | Path | ModelSource | Sequence[str | Path | ModelSource],
    methods: Sequence[str] = DEFAULT,
    *,
    data: str | Path | TextSource = "stdlib",
    data_options: dict[str, Any] | None = None,
    tokenizer: PreTrainedTokenizerBase | None = None,
    progress: bool | None = None,
    **fields: Unpack[QuantizationFields],
) -> Quantization:
    """Measures what quantization methods cost models.

    Args:
        models: `demo`, local folders or hub ids, or a `ModelSource` each, in full precision.
        methods: names of `methods.choose`; `none` is always measured, as everything is compared with it.
        data: `stdlib`, a .txt, .jsonl or .parquet file, a folder of them, or the name of a `datasets` data set; or a
            `TextSource`.
        data_options: the other fields of `TextSource` (config, split, streaming, column, special_tokens).
        tokenizer: taken instead of every model's own.
        progress: show the plan, the stages and the time left on stderr; by default on terminals and in notebooks.
        **fields: those of `ModelSource` (revision, dtype, device, ...) for every model, `Windows` (sequences, tokens,
            budget, ...), `QuantizationSettings` (modules, calibration_data, rank_by, seed, save, ...) and `Output`
            (out, resume, force: where the run is going to be saved, so that what is measured so far is kept beside
            it).

    Raises:
        SinkscopeError: for bad input, in one line.
    """
    refuse_unknown(fields, QuantizationFields, quantize)
    named = [models] if isinstance(models, str | Path | ModelSource) else list(models)
    given = [name for name in ModelFields.__annotations__ if name in fields]
    if given and any(isinstance(one, ModelSource) for one in named):
        raise RequestError(f"a ModelSource takes no loading options: {', '.join(given)}")
    request = QuantizationRequest(
        models=tuple(
            one if isinstance(one, ModelSource) else made_of(ModelSource, fields, name=str(one)) for one in named
        ),
        text=text_source(data, data_options),
        windows=made_of(Windows, fields),
        settings=made_of(QuantizationSettings, fields, methods=tuple(methods)),
        output=made_of(Output, fields),
    )
    return run_quantization(request, tokenizer=tokenizer, progress=progress)


@showing
def run_quantization(
    request: QuantizationRequest,
    *,
    tokenizer: PreTrainedTokenizerBase | None = None,
    progress: bool | None = None,  # noqa: ARG001  (read by `showing`)
) -> Quantization:
    """Measures what a request asks for, model by model.

    Args:
        request: the models, their text and the methods.
        tokenizer: taken instead of every model's own.
        progress: show the plan, the stages and the time left on stderr; by default on terminals and in notebooks.

    Raises:
        SinkscopeError: for bad input, in one line.
    """
    started = time.perf_counter()
    settings = request.settings
    if request.output.out is not None and not request.output.force:
        refuse_unfinished(request.output.out, KIND, resume=request.output.resume)
    chosen = choose(settings.methods, allow_install=settings.allow_install, environment=settings.environment)
    mitigations = mitigations_of(settings.mitigate)
    _check(chosen, settings, mitigations)
    if chosen.caches and request.windows.isolate_documents:
        raise RequestError(
            f"{next(iter(chosen.caches))} counts positions from a window's first token: leave out `isolate_documents`"
        )
    rows = rows_to_save(settings, chosen, mitigations)
    # Opening looks at what can be seen without reading, so that a mistyped source fails before a large model loads.
    open_text(request.text)
    if request.calibration_text is not None:
        open_text(request.calibration_text)
    request = replace(
        request,
        settings=replace(
            settings,
            methods=tuple(chosen.order),
            mitigate=(NONE, *mitigations),
            rank_by=_ranked_by(chosen, settings),
        ),
    )
    for source in request.models[1:]:
        check_named(source)
    measurements = Measurements()
    kept = kept_for(request)
    for number, source in enumerate(request.models):
        windows = measure_model(
            source,
            request,
            chosen,
            mitigations,
            measurements,
            rows,
            State(kept, number),
            tokenizer=tokenizer,
            started=started,
        )
        request = replace(request, windows=windows)
    run = run_of(measurements, request, chosen, seconds=time.perf_counter() - started)
    return Quantization(run, kept.discard)


def _check(chosen: Chosen, settings: QuantizationSettings, mitigations: Mapping[str, Mitigation]) -> None:
    """Refuses settings that contradict the methods."""
    modules, rank_by = settings.modules, settings.rank_by
    check_modules(modules, chosen.library)
    if modules is not None and not chosen.rounds_by_probe:
        raise RequestError("`modules` selects modules for the probes, and `methods` names none")
    if mitigations and not chosen.probes:
        raise RequestError(
            f"`mitigate={next(iter(mitigations))}` is put under the probes, and `methods` names none: libraries load "
            "their models themselves"
        )
    for mitigation in mitigations.values():
        if mitigation.ranks and not settings.rank_sequences:
            raise RequestError(
                f"`mitigate={mitigation.name}` takes modules from a ranking: `rank_sequences` must be at least 1"
            )
        if not any(mitigation.applies_to(probe) for probe in chosen.probes.values()):
            raise RequestError(f"`mitigate={mitigation.name}` makes no difference to {', '.join(chosen.probes)}")
    if rank_by is not None and rank_by not in chosen.probes:
        raise RequestError(f"`rank_by={rank_by}` is none of the probes among `methods`")


def _ranked_by(chosen: Chosen, settings: QuantizationSettings) -> str | None:
    """The probe that ranks modules; None where nothing is ranked."""
    if not settings.rank_sequences:
        return None
    if settings.rank_by is not None:
        return settings.rank_by
    return RANKED_BY if RANKED_BY in chosen.probes else next(iter(chosen.probes), None)
