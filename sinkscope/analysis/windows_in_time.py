"""The plan of an analysis: how long it will take, and which windows fit a budget.

Both need the loaded model, on which a `Trial` measures. A budget that is resumed keeps the windows that were chosen
when it began: `chosen_before` finds them beside the unfinished work.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel

from sinkscope.analysis.trial import TABLES, Trial
from sinkscope.durations import seconds_of
from sinkscope.inputs import DEFAULT_SEQUENCES, Windows
from sinkscope.launch.group import Processes
from sinkscope.models.shape import default_tokens
from sinkscope.planning.budget import Chosen, fitting, in_words, lengths_of, refusal
from sinkscope.planning.forecast import DRAWING, LONG, Forecast
from sinkscope.unfinished import request_before

SHORT = 180.0  # seconds: what would be short, where the plan is long
_SHORT_TOKENS = 512


@dataclass(frozen=True)
class Times:
    """What windows take, on one machine and model.

    Attributes:
        trial: measures.
        models: analyses of this kind that are to come, this one included.
        processes: that share each.
        drawing: seconds of the report.
        loading: seconds that each of the models but this one takes to be loaded.
        unit: what the models are called.
    """

    trial: Trial
    models: int
    processes: int
    drawing: float
    loading: float = 0.0
    unit: str = "models"

    def stages(self, sequences: int, tokens: int) -> dict[str, float]:
        """Seconds by stage."""
        stages = self.trial.seconds(sequences, tokens, self.processes)
        stages = {name: self.models * seconds for name, seconds in stages.items()}
        if self.unit == "checkpoints":  # the stage that is shown is the checkpoint
            stages = {"checkpoint": sum(stages.values()) + (self.models - 1) * self.loading}
        elif self.models > 1:
            stages["loading"] = (self.models - 1) * self.loading
        return {**stages, DRAWING: self.drawing}

    def of_length(self, tokens: int) -> Callable[[int], float]:
        """The seconds of a number of sequences of one length, and of finding out."""
        return lambda sequences: sum(self.stages(sequences, tokens).values()) + self.trial.spent

    def by_length(self, lengths: list[int]) -> Mapping[int, Callable[[int], float]]:
        """The same for several lengths; a length is measured when it is asked for."""
        return {tokens: self.of_length(tokens) for tokens in lengths}


def chosen_in_time(windows: Windows, model: PreTrainedModel, times: Times, *, started: float) -> Windows:
    """The windows that fit the budget of a request, counted from its start.

    Args:
        windows: with a budget.
        model: whose context bounds them.
        times: what windows take.
        started: when the work began, on `time.perf_counter`.

    Raises:
        RequestError: if nothing fits.
    """
    budget = windows.budget
    assert budget is not None  # noqa: S101  (whoever has none does not ask)
    longest = windows.tokens or default_tokens(model.config)
    lengths = [windows.tokens] if windows.tokens is not None else lengths_of(longest)
    left = seconds_of(budget) - (time.perf_counter() - started)
    chosen = fitting(
        left,
        times.by_length(lengths),
        sequences=windows.sequences,
        most=DEFAULT_SEQUENCES,
        fewest=times.processes,
    )
    if chosen is None:
        fewest = windows.sequences or times.processes
        spent = seconds_of(budget) - left
        backward = ("leave gradients out with `backward=False`",) if times.trial.settings.backward else ()
        raise refusal(
            budget,
            in_words(fewest, lengths[0]),
            spent + times.of_length(lengths[0])(fewest),
            "ask for fewer `tokens`",
            *backward,
        )
    return replace(windows, sequences=chosen.sequences, tokens=chosen.tokens)


def forecast_of(
    asked: Windows,
    sequences: int,
    tokens: int,
    times: Times,
    *,
    driver: str,
    memory: tuple[int, int] | None,
) -> Forecast:
    """The plan for windows that are settled.

    Args:
        asked: the windows as they were asked for.
        sequences: N.
        tokens: T.
        times: what windows take.
        driver: how the passes are made.
        memory: bytes needed and free.
    """
    expected = times.stages(sequences, tokens)
    passes = sum(s for name, s in times.trial.seconds(sequences, tokens, times.processes).items() if name != TABLES)
    chosen = {}
    if asked.budget is not None:
        given = {"sequences": asked.sequences, "tokens": asked.tokens}
        chosen = {n: v for n, v in (("sequences", sequences), ("tokens", tokens)) if given[n] is None}
    work = in_words(sequences, tokens)
    return Forecast(
        work=work if times.models == 1 else f"{times.models} {times.unit}, {work}",
        expected=expected,
        trial=times.trial.spent,
        rate=sequences * tokens / passes,
        driver=driver,
        memory=memory,
        budget=asked.budget,
        chosen=chosen,
        shorter=_shorter(times, sequences, tokens) if sum(expected.values()) > LONG else None,
    )


def _shorter(times: Times, sequences: int, tokens: int) -> tuple[Mapping[str, int], float] | None:
    lengths = [length for length in lengths_of(tokens) if length <= _SHORT_TOKENS] or lengths_of(tokens)[:1]
    found: Chosen | None = fitting(SHORT, times.by_length(lengths), sequences=None, most=min(sequences, 4))
    if found is None:
        return None
    return {"sequences": found.sequences, "tokens": found.tokens}, found.seconds


def times_of(
    trial: Trial,
    models: int,
    processes: Processes | None = None,
    *,
    kind: str = "analysis",
    loading: float = 0.0,
    unit: str = "models",
) -> Times:
    """What windows take by a trial, the drawing of a report included.

    Args:
        trial: measures.
        models: analyses alike that are to come, this one included.
        processes: that share each.
        kind: of run, whose report is drawn.
        loading: seconds that a model takes to be loaded.
        unit: what the models are called.
    """
    from sinkscope.report.trial import seconds_to_draw  # loads matplotlib, which passes alone do not need

    count = 1 if processes is None else processes.count
    return Times(trial, models, count, seconds_to_draw(kind), loading, unit)


def chosen_before(out: Path | None, kind: str, budget: str) -> dict[str, Any] | None:
    """The windows that unfinished work of the same budget chose; None where there is none."""
    known = {} if out is None else (request_before(out, kind).get("chosen") or {})
    return known if known.get("budget") == budget else None
