"""The plan of one analysis, made on the loaded model: said in one line, kept for run.json; and what fits a budget.

Nothing is measured where nobody would see it: a script without a budget is as fast as it was.
"""

from dataclasses import dataclass, replace

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
from sinkscope.methods.under import asked
from sinkscope.models.shape import default_tokens
from sinkscope.names import QUANTIZATION_BITS
from sinkscope.passes.trial import some_ids
from sinkscope.planning.configured import read_configuration
from sinkscope.planning.forecast import Forecast
from sinkscope.planning.machine import Machine
from sinkscope.planning.memory import memory_of
from sinkscope.progress.display import say_plan, wants_plan

_NAME_OF_BITS = {bits: name for name, bits in QUANTIZATION_BITS.items()}


@dataclass(frozen=True)
class Planning:
    """The plan of an analysis, and the windows that fit its budget.

    Attributes:
        request: the analysis.
        model: loaded.
        driver: what will make the passes.
        input_ids: windows that are measured instead of a text.
        resolved: what the model's name stands for; None for one that was in memory.
        machine: what was free before the model was loaded.
        processes: that share the windows.
        models: analyses alike that are to come, this one included.
        started: when the work began.
    """

    request: AnalysisRequest
    model: PreTrainedModel
    driver: Resident | LayerByLayer
    input_ids: Tensor | None
    resolved: Resolved | None
    machine: Machine
    processes: Processes | None
    models: int
    started: float

    def settled(self) -> tuple[Windows, Forecast | None]:
        """The windows, chosen where there is a budget, and the plan; None where nobody asks for one.

        Several processes take what the first one chooses.

        Raises:
            SinkscopeError: if nothing fits the budget.
        """
        return self._settled() if self.processes is None else self.processes.from_first(self._settled)

    def _settled(self) -> tuple[Windows, Forecast | None]:
        windows, output = self.request.windows, self.request.output
        if windows.budget is None and not wants_plan():
            return windows, None
        longest = windows.tokens or default_tokens(self.model.config)
        tried = (
            some_ids(self.model, min(windows.batch_size, windows.count), longest)
            if self.input_ids is None
            else self.input_ids[: windows.batch_size]
        )
        trial = Trial(self.model, self.driver, self.request.settings, tried)
        times = times_of(trial, self.models, self.processes)
        budget = windows.budget
        before = chosen_before(output.out, KIND, budget) if output.resume and budget is not None else None
        if before is not None:
            windows = replace(windows, sequences=before["sequences"], tokens=before["tokens"])
        elif budget is not None:
            windows = chosen_in_time(windows, self.model, times, started=self.started)
        sequences, tokens = windows.count, windows.tokens or longest
        if self.input_ids is not None:
            sequences, tokens = self.input_ids.shape
        memory = self._memory(sequences, tokens)
        forecast = forecast_of(self.request.windows, sequences, tokens, times, driver=self.driver.name, memory=memory)
        say_plan(forecast.line(), forecast.expected)
        return windows, forecast

    def _memory(self, sequences: int, tokens: int) -> tuple[int, int] | None:
        """Bytes needed and free; None for a model that was in memory, which needs no more than its passes do."""
        if self.resolved is None:
            return None
        source = self.request.model
        return memory_of(
            read_configuration(self.resolved).config,
            self.machine,
            tokens=tokens,
            sequences=sequences,
            batch_size=self.request.windows.batch_size,
            dtype=source.dtype,
            quantize=asked(source, self.request.method).held_as or _NAME_OF_BITS.get(self.resolved.bits or 0),
            device=str(self.model.device) if self.model.device.type in ("cpu", "cuda") else source.device,
            settings=self.request.settings,
            driver=self.driver.name,
        )
