"""The plan of one analysis, made on the loaded model: said in one line, kept for run.json; and what fits a budget.

Nothing is measured where nobody would see it: a script without a budget is as fast as it was.
"""

from dataclasses import replace

from torch import Tensor
from transformers import PreTrainedModel

from sinkscope.analysis.drivers.layer_by_layer import LayerByLayer
from sinkscope.analysis.drivers.resident import Resident
from sinkscope.analysis.journal import KIND
from sinkscope.analysis.settings import AnalysisRequest
from sinkscope.analysis.trial import Trial
from sinkscope.analysis.windows_in_time import chosen_before, chosen_in_time, forecast_of, times_of
from sinkscope.inputs import Windows
from sinkscope.launch.group import Processes
from sinkscope.loading.resolve import Resolved
from sinkscope.models.shape import default_tokens
from sinkscope.names import QUANTIZATION_BITS
from sinkscope.passes.trial import some_ids
from sinkscope.planning.configured import read_configuration
from sinkscope.planning.forecast import Forecast
from sinkscope.planning.machine import Machine
from sinkscope.planning.memory import memory_of
from sinkscope.progress.display import say_plan, wants_plan

_NAME_OF_BITS = {bits: name for name, bits in QUANTIZATION_BITS.items()}


def settled(
    request: AnalysisRequest,
    model: PreTrainedModel,
    driver: Resident | LayerByLayer,
    *,
    input_ids: Tensor | None,
    resolved: Resolved | None,
    machine: Machine,
    processes: Processes | None,
    models: int,
    started: float,
) -> tuple[Windows, Forecast | None]:
    """The windows of an analysis, chosen where it has a budget, and its plan; None where nobody asks for one.

    Several processes take what the first one chooses.

    Args:
        request: the analysis.
        model: loaded.
        driver: what will make the passes.
        input_ids: windows that are measured instead of a text.
        resolved: what the model's name stands for; None for one that was in memory.
        machine: what was free before the model was loaded.
        processes: that share the windows.
        models: analyses alike that are to come, this one included.
        started: when the work began.

    Raises:
        SinkscopeError: if nothing fits the budget.
    """
    windows = request.windows

    def make() -> tuple[Windows, Forecast | None]:
        if windows.budget is None and not wants_plan():
            return windows, None
        return _planned(
            request, model, driver, input_ids=input_ids, resolved=resolved, machine=machine,
            processes=processes, models=models, started=started,
        )  # fmt: skip

    return make() if processes is None else processes.from_first(make)


def _planned(
    request: AnalysisRequest,
    model: PreTrainedModel,
    driver: Resident | LayerByLayer,
    *,
    input_ids: Tensor | None,
    resolved: Resolved | None,
    machine: Machine,
    processes: Processes | None,
    models: int,
    started: float,
) -> tuple[Windows, Forecast]:
    windows, output = request.windows, request.output
    if input_ids is None:
        longest = windows.tokens or default_tokens(model.config)
        rows = min(windows.batch_size, windows.count)
        tried = some_ids(model, rows, longest)
    else:
        tried = input_ids[: windows.batch_size]
    times = times_of(Trial(model, driver, request.settings, tried), models, processes)
    before = chosen_before(output.out, KIND, windows.budget) if output.resume and windows.budget is not None else None
    if before is not None:
        windows = replace(windows, sequences=before["sequences"], tokens=before["tokens"])
    elif windows.budget is not None:
        windows = chosen_in_time(windows, model, times, started=started)
    sequences, tokens = (windows.count, windows.tokens or longest) if input_ids is None else input_ids.shape
    forecast = forecast_of(
        request.windows, sequences, tokens, times, driver=driver.name,
        memory=_memory(request, model, resolved, machine, driver.name, sequences, tokens),
    )  # fmt: skip
    say_plan(forecast.line(), forecast.expected)
    return windows, forecast


def _memory(
    request: AnalysisRequest,
    model: PreTrainedModel,
    resolved: Resolved | None,
    machine: Machine,
    driver: str,
    sequences: int,
    tokens: int,
) -> tuple[int, int] | None:
    """Bytes needed and free; None for a model that was in memory, which needs no more than its passes do."""
    if resolved is None:
        return None
    source = request.model
    return memory_of(
        read_configuration(resolved).config,
        machine,
        tokens=tokens,
        sequences=sequences,
        batch_size=request.windows.batch_size,
        dtype=source.dtype,
        quantize=source.quantize or _NAME_OF_BITS.get(resolved.bits or 0),
        device=str(model.device) if model.device.type in ("cpu", "cuda") else source.device,
        settings=request.settings,
        driver=driver,
    )
