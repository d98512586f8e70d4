"""What one model goes through: loaded once for everything unquantized, then once per library method.

One model is in memory at a time. The probes share the unquantized one; every library method loads the model anew.
"""

import gc
import time
from collections.abc import Mapping
from dataclasses import replace

import torch
from transformers import PreTrainedTokenizerBase

from sinkscope.errors import SinkscopeError
from sinkscope.inputs import ModelSource, Windows
from sinkscope.loading.load import Loaded, load_named
from sinkscope.methods.choose import Chosen, calibrates
from sinkscope.methods.library.method import LoadRequest, Method
from sinkscope.mitigations.mitigation import Mitigation
from sinkscope.models.shape import default_tokens
from sinkscope.passes.batches import check_windows
from sinkscope.passes.memory import explained_memory_errors
from sinkscope.passes.trial import some_ids
from sinkscope.planning.machine import Machine, this_machine
from sinkscope.progress.display import stage, wants_plan
from sinkscope.quantization.measurements import Measurements
from sinkscope.quantization.model_text import ModelText, text_of
from sinkscope.quantization.plan import Costs, settled
from sinkscope.quantization.ranking import losses
from sinkscope.quantization.settings import QuantizationRequest
from sinkscope.quantization.unquantized import measure_unquantized
from sinkscope.text.windows import check_context
from sinkscope.vscale.attach import attached


def measure_model(
    source: ModelSource,
    request: QuantizationRequest,
    chosen: Chosen,
    mitigations: Mapping[str, Mitigation],
    measurements: Measurements,
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
        tokenizer: taken instead of the model's own.
        started: when the work began, on `time.perf_counter`.

    Returns:
        The request's windows, settled: chosen where they have a budget that nothing was chosen for yet.

    Raises:
        SinkscopeError: if the model cannot be loaded or measured, in one line.
    """
    machine, began = this_machine(), time.perf_counter()
    stage(f"loading {source.name}")
    loaded = load_named(source, tokenizer=tokenizer)
    seconds = time.perf_counter() - began
    if loaded.quantization is not None:
        raise SinkscopeError(
            f"{source.name} is quantized already ({loaded.quantization}): name the full-precision model that it was "
            "made from"
        )
    settings = request.settings
    check_context(loaded.model, request.windows.tokens)
    for mitigation in mitigations.values():
        mitigation.refuse(loaded.model)
    fits = bool(mitigations) or any(calibrates(chosen, name) for name in chosen.order)
    unsettled = request.windows.budget is not None and measurements.plan is None
    text = (
        None if unsettled else text_of(loaded, request, calibrates=fits)
    )  # what is wrong with a text is said before the plan
    request = _planned(loaded, request, chosen, measurements, machine, loading=seconds, started=started)
    stage("reading text")
    text = text or text_of(loaded, request, calibrates=fits)
    batch_size = text.windows.batch_size
    check_windows(loaded.model, text.evaluated.input_ids, batch_size)
    with explained_memory_errors(batch_size):
        measure_unquantized(loaded, text, chosen, settings, measurements, mitigations)
        has_vscale = loaded.vscale is not None
        del loaded
        for method in chosen.library.values():
            _free()
            given = LoadRequest.of(source, settings, text.calibration.input_ids, tokenizer)
            _measure_library_method(method, given, text, chosen, measurements, has_vscale=has_vscale)
    _free()
    return text.windows


def _planned(
    loaded: Loaded,
    request: QuantizationRequest,
    chosen: Chosen,
    measurements: Measurements,
    machine: Machine,
    *,
    loading: float,
    started: float,
) -> QuantizationRequest:
    """The request with its windows settled by the first model; its plan goes to the measurements."""
    windows = request.windows
    unsettled = windows.budget is not None and measurements.plan is None
    if not (unsettled or wants_plan()):
        return request
    stage("planning")
    longest = windows.tokens or default_tokens(loaded.model.config)
    rows = min(windows.batch_size, windows.count)
    tried = some_ids(loaded.model, rows, longest)
    costs = Costs(loaded, request, chosen, loading, tried)
    settled_windows, forecast = settled(loaded, request, costs, machine, started=started)
    measurements.plan = forecast.as_json()
    return replace(request, windows=settled_windows if unsettled else windows)


def _measure_library_method(
    method: Method,
    given: LoadRequest,
    text: ModelText,
    chosen: Chosen,
    measurements: Measurements,
    *,
    has_vscale: bool,
) -> None:
    """The losses of the model as a library quantizes it, and under the caches that are joined to that."""
    name, label = method.name, given.model
    stage(f"loading {label} by {name}")
    model = method.load(given).model
    if has_vscale and not attached(model):
        raise SinkscopeError(f"{name} lost the V-scale of {label}")
    if name in chosen.order:
        measurements.add_losses(label, name, losses(model, text.batches(), f"{label}: {name}"))
    for joined, cache in chosen.joined_to(name).items():
        with cache.entered(model):
            measurements.add_losses(label, joined, losses(model, text.batches(), f"{label}: {joined}"))
    measurements.used(model.device)
    measurements.versions |= method.versions(given.environment)
    if has_vscale and method.vscale_note:
        measurements.notes.append(f"{label}, {name}: {method.vscale_note}.")


def _free() -> None:
    """Gives back the memory of a model that is no longer referred to."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
