"""The plan of an ablation: how many passes it makes, what they take, and how many windows fit a budget.

Every intervention and each draw of its control is a forward pass over all windows, whose output head runs twice, for
the loss and for the untouched model's distribution. The headline quantities are measured under the intervention and
its first control. Interventions that turn out to have nothing to take away are counted all the same.
"""

import time
from dataclasses import dataclass, replace

from transformers import PreTrainedModel

from sinkscope.ablation.settings import AblationSettings
from sinkscope.ablation.steps.choose import wanted
from sinkscope.durations import seconds_of
from sinkscope.inputs import DEFAULT_SEQUENCES, Windows
from sinkscope.models.shape import default_tokens
from sinkscope.passes.trial import now, seconds_of_head, seconds_of_layers
from sinkscope.planning.budget import fitting, in_words, lengths_of, refusal
from sinkscope.planning.forecast import DRAWING, LONG, Forecast
from sinkscope.planning.machine import Machine
from sinkscope.planning.memory import forward_memory
from sinkscope.progress.display import say_plan

SHORT = 180.0  # seconds: what would be short, where the plan is long
_BACKWARD, _FORWARD = 4.5, 1.6  # what measuring takes over a plain forward pass, with gradients and without
# What makes it less work, for a budget that nothing fits.
_LESS = ("ask for fewer `tokens`, a shorter list of `what`, or fewer `draws`",)
INTERVENTIONS, UNTOUCHED, ANALYZING = "intervention", "untouched", "analyzing"


@dataclass(frozen=True)
class Rates:
    """Seconds per token of a pass through all layers, and of the output head."""

    layers: float
    head: float


class Costs:
    """What the parts of an ablation take.

    Args:
        model: loaded.
        settings: the request's.
        rows: windows per forward pass.
        tokens: of the windows that are tried.
    """

    def __init__(self, model: PreTrainedModel, settings: AblationSettings, rows: int, tokens: int) -> None:
        from sinkscope.report.trial import seconds_to_draw  # loads matplotlib

        started = now()
        read = rows * tokens
        self.rates = Rates(seconds_of_layers(model, rows, tokens) / read, seconds_of_head(model, rows, tokens) / read)
        self.settings = settings
        self._drawing = seconds_to_draw("ablation")
        self.trial = now() - started

    def stages(self, sequences: int, tokens: int) -> dict[str, float]:
        """Seconds by stage."""
        settings, rates = self.settings, self.rates
        names = wanted(settings, tokens)
        measured = min(settings.measured, sequences) * tokens
        whole = rates.layers + rates.head
        analysis = whole * (_BACKWARD if settings.backward else _FORWARD)
        one = sequences * tokens * (rates.layers + 2 * rates.head) * (1 + settings.draws) + 2 * measured * analysis
        stages = {UNTOUCHED: sequences * tokens * whole + measured * analysis, INTERVENTIONS: len(names) * one}
        if settings.run is None:
            stages = {ANALYZING: sequences * tokens * whole * _FORWARD, **stages}
        return {**stages, DRAWING: self._drawing}

    def seconds(self, sequences: int, tokens: int) -> float:
        """All of it."""
        return sum(self.stages(sequences, tokens).values())


def settled(
    model: PreTrainedModel, windows: Windows, costs: Costs, machine: Machine, *, started: float
) -> tuple[Windows, Forecast]:
    """The windows of an ablation, chosen where it has a budget, and its plan, which is said where stages are shown.

    Args:
        model: loaded.
        windows: as they were asked for.
        costs: what the parts take.
        machine: what was free before the model was loaded.
        started: when the work began, on `time.perf_counter`.

    Raises:
        RequestError: if nothing fits the budget.
    """
    longest = windows.tokens or default_tokens(model.config)
    lengths = [windows.tokens] if windows.tokens is not None else lengths_of(longest)
    chosen: dict[str, int] = {}
    settled_windows = replace(windows, sequences=windows.count, tokens=longest)
    if windows.budget is not None:
        by_length = {tokens: (lambda count, tokens=tokens: costs.seconds(count, tokens)) for tokens in lengths}
        left = seconds_of(windows.budget) - (time.perf_counter() - started)
        fits = fitting(left, by_length, sequences=windows.sequences, most=DEFAULT_SEQUENCES)
        if fits is None:
            count, spent = windows.sequences or 1, seconds_of(windows.budget) - left
            raise refusal(windows.budget, in_words(count, lengths[0]), spent + costs.seconds(count, lengths[0]), *_LESS)
        settled_windows = replace(windows, sequences=fits.sequences, tokens=fits.tokens)
        given = {"sequences": windows.sequences, "tokens": windows.tokens}
        values = {"sequences": fits.sequences, "tokens": fits.tokens}
        chosen = {name: value for name, value in values.items() if given[name] is None}
    sequences, tokens = settled_windows.count, settled_windows.tokens or longest
    expected = costs.stages(sequences, tokens)
    shorter = None
    if sum(expected.values()) > LONG:
        small = {t: (lambda count, t=t: costs.seconds(count, t)) for t in lengths_of(tokens)}
        found = fitting(SHORT, small, sequences=None, most=min(sequences, 4))
        shorter = None if found is None else ({"sequences": found.sequences, "tokens": found.tokens}, found.seconds)
    forecast = Forecast(
        work=f"{_counted(costs, tokens)} on {in_words(sequences, tokens)}",
        expected=expected,
        trial=costs.trial,
        rate=1 / (costs.rates.layers + costs.rates.head),
        memory=forward_memory(model, machine, tokens=tokens, batch_size=windows.batch_size),
        budget=windows.budget,
        chosen=chosen,
        shorter=shorter,
    )
    say_plan(forecast.line(), expected)
    return settled_windows, forecast


def _counted(costs: Costs, tokens: int) -> str:
    count, draws = len(wanted(costs.settings, tokens)), costs.settings.draws
    return f"{count} intervention{'s' if count != 1 else ''} with {draws} control{'s' if draws != 1 else ''} each"
