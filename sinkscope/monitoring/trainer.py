"""The monitor as a callback of transformers' Trainer.

The trainer calls its trackers before any callback sees what was logged, so a callback cannot add numbers to a log. This
one therefore holds the trainer and calls its `log`, as the trainer does itself: every tracker in `report_to` then
receives the numbers.
"""

from typing import Any, Protocol

from torch import nn
from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from sinkscope.errors import SinkscopeError
from sinkscope.models.bare import bare_model


class Watching(Protocol):
    """What the callback needs of a monitor (`monitoring.monitor.Monitor`)."""

    @property
    def model(self) -> nn.Module:
        """The watched model."""

    def step(self, step: int) -> dict[str, float] | None:
        """Measures where the step is one to be measured."""

    def measure(self, step: int) -> dict[str, float] | None:
        """Measures now."""


class MonitorCallback(TrainerCallback):
    """Measures before the first step, every N steps, and at the last one.

    Args:
        monitor: what measures.
        trainer: what logs.
    """

    def __init__(self, monitor: Watching, trainer: Trainer) -> None:
        self.monitor = monitor
        self.trainer = trainer

    def on_train_begin(
        self,
        args: TrainingArguments,  # noqa: ARG002
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,
    ) -> None:
        """Checks that the right model is watched, and measures it before its first step."""
        if bare_model(kwargs["model"]) is not self.monitor.model:
            raise SinkscopeError("the trainer trains another model than the Monitor watches: give it trainer.model")
        if state.global_step == 0:
            self._log(self._measured(state, 0), control)

    def on_step_end(
        self,
        args: TrainingArguments,  # noqa: ARG002
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,  # noqa: ARG002
    ) -> None:
        """Measures at every N-th step and at the last."""
        step = state.global_step
        values = self._measured(state, step) if step == state.max_steps else self.monitor.step(step)
        self._log(values, control)

    def _measured(self, state: TrainerState, step: int) -> dict[str, float] | None:
        return self.monitor.measure(step) if state.is_world_process_zero else None

    def _log(self, values: dict[str, float] | None, control: TrainerControl) -> None:
        if values is None:
            return
        wanted = control.should_log  # logging takes back a request for a log, here one for the trainer's own numbers
        self.trainer.log(dict(values))
        control.should_log = wanted
