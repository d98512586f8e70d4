"""The plan of a track, made on the first checkpoint that loads: what it takes, times the checkpoints to come."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from transformers import PreTrainedModel

from sinkscope.analysis.drivers.resident import Resident
from sinkscope.analysis.trial import Trial
from sinkscope.analysis.windows_in_time import Times, chosen_in_time, forecast_of, times_of
from sinkscope.inputs import Windows
from sinkscope.methods.under import asked
from sinkscope.models.shape import default_tokens
from sinkscope.names import RESIDENT
from sinkscope.passes.trial import some_ids
from sinkscope.planning.forecast import Forecast
from sinkscope.planning.machine import Machine
from sinkscope.planning.memory import memory_of
from sinkscope.progress.display import say_plan, stage, wants_plan
from sinkscope.tracking.settings import TrackRequest


@dataclass(frozen=True)
class Planning:
    """The plan of a track, and the windows that fit its budget.

    Attributes:
        request: the track.
        model: the first checkpoint that was loaded.
        machine: what was free before it was loaded.
        loading: seconds that this took.
        missing: checkpoints that are to be measured, this one included.
        started: when the work began, on `time.perf_counter`.
    """

    request: TrackRequest
    model: PreTrainedModel
    machine: Machine
    loading: float
    missing: int
    started: float

    def settled(self) -> tuple[Windows, dict[str, Any] | None]:
        """The windows, chosen where there is a budget, and the plan for run.json; None where nobody asks for one.

        Raises:
            RequestError: if nothing fits the budget.
        """
        windows = self.request.windows
        if windows.budget is not None:
            stage("planning")
            windows = chosen_in_time(windows, self.model, self._times, started=self.started)
        elif not wants_plan():
            return windows, None
        forecast = self._forecast(windows.count, windows.tokens or default_tokens(self.model.config))
        say_plan(forecast.line(), forecast.expected)
        return windows, forecast.as_json()

    def say(self, sequences: int, tokens: int) -> None:
        """Says the plan for windows that an interrupted track has settled, where it would be shown."""
        if wants_plan():
            forecast = self._forecast(sequences, tokens)
            say_plan(forecast.line(), forecast.expected)

    def _forecast(self, sequences: int, tokens: int) -> Forecast:
        request, source = self.request, self.request.model
        memory = memory_of(
            self.model.config, self.machine, tokens=tokens, sequences=sequences, batch_size=request.windows.batch_size,
            dtype=source.dtype, quantize=asked(source, request.method).held_as, device=str(self.model.device),
            settings=request.settings,
        )  # fmt: skip
        return forecast_of(request.windows, sequences, tokens, self._times, driver=RESIDENT, memory=memory)

    @cached_property
    def _times(self) -> Times:
        stage("planning")
        windows = self.request.windows
        longest = windows.tokens or default_tokens(self.model.config)
        rows = min(windows.batch_size, windows.count)
        tried = some_ids(self.model, rows, longest)
        trial = Trial(self.model, Resident(self.model), self.request.settings, tried)
        return times_of(trial, self.missing, kind="track", loading=self.loading, unit="checkpoints")
