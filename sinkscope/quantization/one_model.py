"""What one model goes through: loaded once for everything unquantized, then once per library method.

One model is in memory at a time. The probes share the unquantized one; every library method loads the model anew.
"""

import gc
import time
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from typing import Any

import pandas as pd
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from sinkscope.errors import RequestError, SinkscopeError, UnsuitedError
from sinkscope.inputs import ModelSource, Windows
from sinkscope.loading.load import Loaded, load_named
from sinkscope.loading.resolve import Resolved, resolve
from sinkscope.methods.cache.probe import CacheProbe
from sinkscope.methods.checkpoint.schemes import NO_VSCALE
from sinkscope.methods.choose import Chosen, calibrates
from sinkscope.methods.library.method import LoadRequest, Method
from sinkscope.mitigations.mitigation import Mitigation
from sinkscope.models.shape import default_tokens
from sinkscope.passes.batches import check_windows
from sinkscope.passes.memory import explained_memory_errors
from sinkscope.passes.trial import some_ids
from sinkscope.planning.configured import read_configuration
from sinkscope.planning.machine import Machine, this_machine
from sinkscope.progress.display import stage, wants_plan
from sinkscope.quantization.measurements import Measurements
from sinkscope.quantization.model_text import ModelText, text_of
from sinkscope.quantization.plan import Costs, settled
from sinkscope.quantization.ranking import losses
from sinkscope.quantization.saving import Row, refuse_model
from sinkscope.quantization.settings import QuantizationRequest
from sinkscope.quantization.state import State
from sinkscope.quantization.unquantized import measure_unquantized
from sinkscope.text.windows import check_context
from sinkscope.vscale.attach import attached


def measure_model(
    source: ModelSource,
    request: QuantizationRequest,
    chosen: Chosen,
    mitigations: Mapping[str, Mitigation],
    measurements: Measurements,
    rows: list[Row],
    state: State,
    *,
    tokenizer: PreTrainedTokenizerBase | None,
    started: float,
) -> Windows:
    """Measures a model by all methods.

    Args:
        source: the model.
        request: text, windows and settings.
        chosen: the methods.
        mitigations: by name.
        measurements: where all that is found is added.
        rows: those among which one is saved as a checkpoint; none saves none.
        state: what is kept of the model.
        tokenizer: taken instead of the model's own.
        started: when the work began, on `time.perf_counter`.

    Returns:
        The request's windows, settled: chosen where they have a budget that nothing was chosen for yet.

    Raises:
        SinkscopeError: if the model cannot be loaded or measured, in one line.
    """
    machine, began = this_machine(), time.perf_counter()
    stage(f"loading {source.name}")
    resolved = resolve(source.name, source.revision, source.gguf_file)
    _refuse_before_loading(source, resolved, chosen, rows)
    loaded = load_named(source, tokenizer=tokenizer, resolved=resolved)
    seconds = time.perf_counter() - began
    if loaded.quantization is not None:
        raise UnsuitedError(
            f"{source.name} is quantized already ({loaded.quantization}): name the full-precision model that it was "
            "made from"
        )
    settings = request.settings
    check_context(loaded.model, request.windows.tokens)
    for mitigation in mitigations.values():
        mitigation.refuse(loaded.model)
    rows = refuse_model(rows, chosen, loaded.model)
    fits = bool(mitigations) or any(calibrates(chosen, name) for name in chosen.order)
    unsettled = request.windows.budget is not None and measurements.plan is None
    text = (
        None if unsettled else text_of(loaded, request, calibrates=fits)
    )  # what is wrong with a text is said before the plan
    request = _planned(loaded, request, chosen, measurements, machine, state, loading=seconds, started=started)
    stage("reading text")
    text = text or text_of(loaded, request, calibrates=fits)
    batch_size = text.windows.batch_size
    check_windows(loaded.model, text.evaluated.input_ids, batch_size)
    state.check(
        {
            "model": loaded.description,
            "windows": text.evaluated.sha256,
            "calibration": text.calibration.sha256,
            "device": str(loaded.model.device),
            "dtype": str(loaded.model.dtype),
        }
    )
    with explained_memory_errors(batch_size):
        measure_unquantized(loaded, text, chosen, settings, measurements, mitigations, rows, state)
        has_vscale = loaded.vscale is not None
        del loaded
        for method in chosen.library.values():
            _free()
            given = LoadRequest.of(source, settings, text.calibration.input_ids, tokenizer)
            _measure_library_method(method, given, text, chosen, measurements, state, has_vscale=has_vscale)
    _free()
    return text.windows


def _refuse_before_loading(source: ModelSource, resolved: Resolved, chosen: Chosen, rows: list[Row]) -> None:
    """Refuses what the model's configuration alone rules out."""
    if rows and resolved.vscale is not None:
        raise RequestError(NO_VSCALE)
    if chosen.caches and resolved.unsupported is None and not source.trust_remote_code:
        known: Any = read_configuration(resolved)  # of a model, a cache looks at the configuration
        for cache in chosen.caches.values():
            cache.check(known)


def _planned(
    loaded: Loaded,
    request: QuantizationRequest,
    chosen: Chosen,
    measurements: Measurements,
    machine: Machine,
    state: State,
    *,
    loading: float,
    started: float,
) -> QuantizationRequest:
    """The request with its windows settled by the first model; its plan goes to the measurements."""
    windows = request.windows
    unsettled = windows.budget is not None and measurements.plan is None
    if not (unsettled or wants_plan()):
        return request

    def planned() -> dict[str, Any]:
        stage("planning")
        longest = windows.tokens or default_tokens(loaded.model.config)
        rows = min(windows.batch_size, windows.count)
        tried = some_ids(loaded.model, rows, longest)
        costs = Costs(loaded, request, chosen, loading, tried)
        settled_windows, forecast = settled(loaded, request, costs, machine, started=started)
        return {"sequences": settled_windows.sequences, "tokens": settled_windows.tokens, "plan": forecast.as_json()}

    found = state.value("plan", measure=planned, early=True)
    measurements.plan = found["plan"]
    settled_windows = replace(windows, sequences=found["sequences"], tokens=found["tokens"])
    return replace(request, windows=settled_windows if unsettled else windows)


def _measure_library_method(
    method: Method,
    given: LoadRequest,
    text: ModelText,
    chosen: Chosen,
    measurements: Measurements,
    state: State,
    *,
    has_vscale: bool,
) -> None:
    """The losses of the model as a library quantizes it, and under the caches that are joined to that."""
    name, label = method.name, given.model
    loaded: list[PreTrainedModel] = []  # once, where a row is missing

    def under(shown: str, cache: CacheProbe | None) -> pd.DataFrame:
        if not loaded:
            stage(f"loading {label} by {name}")
            loaded.append(method.load(given).model)
            if has_vscale and not attached(loaded[0]):
                raise SinkscopeError(f"{name} lost the V-scale of {label}")
        model = loaded[0]
        with nullcontext() if cache is None else cache.entered(model):
            found = losses(model, text.batches(), f"{label}: {shown}")
        measurements.used(model.device)
        return found

    shown: dict[str, CacheProbe | None] = {name: None} if name in chosen.order else {}
    for row, cache in {**shown, **chosen.joined_to(name)}.items():
        measured = state.losses("library", row, measure=partial(under, row, cache))
        measurements.add_losses(label, row, measured)
    measurements.versions |= method.versions(given.environment)
    if has_vscale and method.vscale_note:
        measurements.notes.append(f"{label}, {name}: {method.vscale_note}.")


def _free() -> None:
    """Gives back the memory of a model that is no longer referred to."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
