"""What one model goes through: loaded once for everything unquantized, then once per library method.

One model is in memory at a time. The probes share the unquantized one; every library method loads the model anew.
"""

import gc

import torch
from transformers import PreTrainedTokenizerBase

from sinkscope.errors import SinkscopeError
from sinkscope.inputs import ModelSource, Windows
from sinkscope.loading.load import load_named
from sinkscope.methods.choose import Chosen
from sinkscope.methods.library.method import LoadRequest, Method
from sinkscope.passes.batches import check_windows
from sinkscope.passes.memory import explained_memory_errors
from sinkscope.quantization.measurements import Measurements
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
    loaded = load_named(source, tokenizer=tokenizer)
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
            given = LoadRequest.of(source, settings, text.calibration.input_ids, tokenizer)
            _measure_library_method(method, given, text, measurements, has_vscale=has_vscale, progress=progress)
    _free()
    return text.windows


def _measure_library_method(
    method: Method, given: LoadRequest, text: ModelText, measurements: Measurements, *, has_vscale: bool, progress: bool
) -> None:
    """The losses of the model as a library quantizes it."""
    name, label = method.name, given.model
    model = method.load(given).model
    if has_vscale and not attached(model):
        raise SinkscopeError(f"{name} lost the V-scale of {label}")
    measured = losses(model, text.batches(), f"{label}: {name}", progress=progress)
    measurements.add_losses(label, name, measured)
    measurements.used(model.device)
    measurements.versions |= method.versions(given.environment)
    if has_vscale and method.vscale_note:
        measurements.notes.append(f"{label}, {name}: {method.vscale_note}.")


def _free() -> None:
    """Gives back the memory of a model that is no longer referred to."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
