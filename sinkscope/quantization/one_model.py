"""What one model goes through: loaded once for everything unquantized, then once per library method.

One model is in memory at a time. The probes share the unquantized one; every library method loads the model anew.
"""

import gc
from typing import Any

import torch
from transformers import PreTrainedTokenizerBase

from sinkscope.errors import SinkscopeError
from sinkscope.inputs import ModelSource, Windows
from sinkscope.loading.load import load_model
from sinkscope.passes.batches import check_windows
from sinkscope.passes.memory import explained_memory_errors
from sinkscope.quantization.library.method import LoadRequest, Method
from sinkscope.quantization.measurements import Measurements
from sinkscope.quantization.methods import Chosen
from sinkscope.quantization.model_text import ModelText, text_of
from sinkscope.quantization.ranking import losses
from sinkscope.quantization.settings import QuantizationRequest
from sinkscope.quantization.unquantized import measure_unquantized
from sinkscope.vscale.attach import attached


def measure_model(
    source: ModelSource,
    request: QuantizationRequest,
    chosen: Chosen,
    measurements: Measurements,
    *,
    tokenizer: PreTrainedTokenizerBase | None,
    progress: bool,
) -> Windows:
    """Measures a model by all methods.

    Args:
        source: the model.
        request: text, windows and settings.
        chosen: the methods.
        measurements: where all that is found is added.
        tokenizer: taken instead of the model's own.
        progress: show progress on stderr.

    Returns:
        The request's windows with their length settled.

    Raises:
        SinkscopeError: if the model cannot be loaded or measured, in one line.
    """
    loading = _loading(source, tokenizer)
    loaded = load_model(source.name, **loading)
    if loaded.quantization is not None:
        raise SinkscopeError(
            f"{source.name} is quantized already ({loaded.quantization}): name the full-precision model that it was "
            "made from"
        )
    settings = request.settings
    text = text_of(loaded, request)
    batch_size = text.windows.batch_size
    check_windows(loaded.model, text.evaluated.input_ids, batch_size)
    with explained_memory_errors(batch_size):
        measure_unquantized(loaded, text, chosen, settings, measurements, progress=progress)
        has_vscale = loaded.vscale is not None
        del loaded
        for method in chosen.library.values():
            _free()
            given = LoadRequest(
                source.name,
                loading,
                text.calibration.input_ids,
                batch_size,
                settings.allow_install,
                settings.environment,
            )
            _measure_library_method(method, given, text, measurements, has_vscale=has_vscale, progress=progress)
    _free()
    return text.windows


def _measure_library_method(
    method: Method, given: LoadRequest, text: ModelText, measurements: Measurements, *, has_vscale: bool, progress: bool
) -> None:
    """The losses of the model as a library quantizes it."""
    name, label = method.name, given.model
    model = method.load(given)
    if has_vscale and not attached(model):
        raise SinkscopeError(f"{name} lost the V-scale of {label}")
    measured = losses(model, text.batches(), f"{label}: {name}", progress=progress)
    measurements.add_losses(label, name, measured)
    measurements.used(model.device)
    measurements.versions |= method.versions(given.environment)
    if has_vscale and method.vscale_note:
        measurements.notes.append(f"{label}, {name}: {method.vscale_note}.")


def _loading(source: ModelSource, tokenizer: PreTrainedTokenizerBase | None) -> dict[str, Any]:
    """Options of `load_model`; whether weights are quantized while they load is the methods' own affair."""
    return {
        "revision": source.revision,
        "gguf_file": source.gguf_file,
        "dtype": source.dtype,
        "device": source.device,
        "device_map": source.device_map,
        "trust_remote_code": source.trust_remote_code,
        "tokenizer": tokenizer,
    }


def _free() -> None:
    """Gives back the memory of a model that is no longer referred to."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
