"""The plan of an evaluation: what its windows and prompts take, and how many documents and needles fit a budget.

Perplexity is forward passes over windows; a needle is a forward pass over its prompt and a step per new token. A budget
keeps the same share of the documents and of the seeds of the needles, the first ones; what was given is kept whole.
What lm-evaluation-harness takes for its tasks is not foretold.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from sinkscope.durations import seconds_of
from sinkscope.evaluation.generation import continue_greedily
from sinkscope.evaluation.retrieval import Cell
from sinkscope.evaluation.rolling import Window, rolling_windows
from sinkscope.evaluation.settings import DEFAULT_SEEDS, EvaluationSettings
from sinkscope.evaluation.texts import Text
from sinkscope.passes.modes import frozen
from sinkscope.passes.trial import now, seconds_of_head, seconds_of_layers
from sinkscope.planning.budget import refusal
from sinkscope.planning.choose import size
from sinkscope.planning.forecast import DRAWING, LONG, Forecast
from sinkscope.planning.machine import Machine
from sinkscope.planning.memory import forward_memory
from sinkscope.progress.display import say_plan, wants_plan

SHORT = 180.0  # seconds: what would be short, where the plan is long
_PROMPT, _STEPS = 16, 3  # tokens, and how many are written after them, of the trial
# What makes it less work, for a budget that nothing fits.
_LESS = ("cut documents at fewer `characters`", "ask for shorter `lengths` or fewer `variants`")


@dataclass(frozen=True)
class Share:
    """A part of an evaluation: its first documents, and the first seeds of its needles."""

    documents: int
    seeds: int


class Costs:
    """What the parts of an evaluation take.

    Args:
        model: loaded.
        tokenizer: the model's.
        settings: completed.
        texts: all documents that might be scored.
        cells: all needles that might be asked for.
        rows: windows or prompts per forward pass.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        settings: EvaluationSettings,
        texts: Sequence[Text],
        cells: Sequence[Cell],
        rows: int,
    ) -> None:
        self._model, self._tokenizer, self._settings = model, tokenizer, settings
        self._texts, self._cells, self._rows = texts, cells, rows
        from sinkscope.report.trial import seconds_to_draw  # loads matplotlib

        started = now()
        self._drawing = seconds_to_draw("evaluation")
        self._per_window = self._of_window if texts else (0.0, 0.0)
        self._per_needle = self._of_token if cells else (0.0, 0.0)
        self.trial = now() - started

    def tokens(self, share: Share) -> int:
        """Tokens that the model reads or writes."""
        read = sum(window.end - window.start for window in self._windows(share))
        return read + sum(len(cell.prompt.ids) + cell.prompt.new_tokens for cell in self._asked(share))

    def stages(self, share: Share) -> dict[str, float]:
        """Seconds by stage."""
        stages = {}
        if self._texts:
            per_token, per_scored = self._per_window
            windows = self._windows(share)
            read, scored = sum(w.end - w.start for w in windows), sum(w.scored for w in windows)
            stages["perplexity: window"] = read * per_token + scored * per_scored
        if self._cells:
            per_token, per_step = self._per_needle
            cells = self._asked(share)
            read, written = sum(len(c.prompt.ids) for c in cells), sum(c.prompt.new_tokens for c in cells)
            stages["needle"] = read * per_token + written * per_step / self._rows
        return {**stages, DRAWING: self._drawing}

    def seconds(self, share: Share) -> float:
        """All of it."""
        return sum(self.stages(share).values())

    def _windows(self, share: Share) -> list[Window]:
        window, stride = self._settings.window or 0, self._settings.stride or 0
        return [w for text in self._texts[: share.documents] for w in rolling_windows(len(text.ids), window, stride)]

    def _asked(self, share: Share) -> list[Cell]:
        return [cell for cell in self._cells if cell.seed < share.seeds]

    @cached_property
    def _of_window(self) -> tuple[float, float]:
        """Seconds per token through the layers, and per token that is scored, in windows of the usual length."""
        lengths = [w.end - w.start for w in self._windows(Share(len(self._texts), 0))]
        usual = max(lengths)
        layers = seconds_of_layers(self._model, self._rows, usual) / (self._rows * usual)
        return layers, seconds_of_head(self._model, self._rows, usual) / (self._rows * usual)

    @cached_property
    def _of_token(self) -> tuple[float, float]:
        """Seconds per token of a prompt of the longest kind, and per step of a generation."""
        longest = max(len(cell.prompt.ids) for cell in self._cells)
        layers = seconds_of_layers(self._model, self._rows, longest) / (self._rows * longest)
        prompts = [self._cells[0].prompt.ids[:_PROMPT]] * self._rows
        with frozen(self._model):
            continue_greedily(self._model, self._tokenizer, prompts, 1)  # the first one loads kernels
            times = []
            for steps in (1, 1 + _STEPS):
                started = now()
                continue_greedily(self._model, self._tokenizer, prompts, steps)
                times.append(now() - started)
        return layers, max(times[1] - times[0], 0.0) / _STEPS


def shares(asked: EvaluationSettings, texts: int, seeds: int) -> list[Share]:
    """The parts that a budget may choose among, the whole first.

    Args:
        asked: as it was asked for: what is given there is kept.
        texts: documents in all.
        seeds: seeds in all.
    """
    parts = []
    for part in range(max(texts, seeds, 1), 0, -1):
        share = part / max(texts, seeds, 1)
        documents = texts if asked.documents is not None else min(texts, max(1, round(share * texts)))
        kept = seeds if asked.seeds is not None else min(seeds, max(1, round(share * seeds)))
        parts.append(Share(documents, kept))
    return list(dict.fromkeys(parts))


def planned(
    asked: EvaluationSettings,
    costs: Costs,
    texts: int,
    *,
    budget: str | None,
    started: float,
    memory: tuple[int, int] | None,
    tasks: int,
) -> tuple[Share, Forecast]:
    """The part of an evaluation that is made, and its plan, which is said where stages are shown.

    Args:
        asked: the settings as they were asked for.
        costs: what its parts take.
        texts: documents in all.
        budget: the time to fit; None makes all of it.
        started: when the work began, on `time.perf_counter`.
        memory: bytes needed and free.
        tasks: of lm-evaluation-harness, which no plan covers.

    Raises:
        RequestError: if nothing fits the budget.
    """
    seeds = (asked.seeds or DEFAULT_SEEDS) if asked.variants else 0
    parts = shares(asked, texts, seeds)
    share = parts[0]
    if budget is not None:
        left = seconds_of(budget) - (time.perf_counter() - started)
        fits = next((part for part in parts if costs.seconds(part) <= left), None)
        if fits is None:
            spent = seconds_of(budget) - left
            raise refusal(budget, _in_words(parts[-1]), spent + costs.seconds(parts[-1]), *_LESS)
        share = fits
    expected = costs.stages(share)
    passes = sum(seconds for name, seconds in expected.items() if name != DRAWING)
    chosen = {}
    if budget is not None and asked.documents is None and texts:
        chosen["documents"] = share.documents
    if budget is not None and asked.seeds is None and seeds:
        chosen["seeds"] = share.seeds
    short = None
    if sum(expected.values()) > LONG:
        part = next((part for part in parts if costs.seconds(part) <= SHORT), parts[-1])
        names = {"documents": part.documents if texts else 0, "seeds": part.seeds}
        short = ({name: value for name, value in names.items() if value}, costs.seconds(part))
    untold = f" and {_tasks(tasks)}, whose time is not foretold" if tasks else ""
    forecast = Forecast(
        work=_in_words(share) + untold, expected=expected, trial=costs.trial,
        rate=costs.tokens(share) / passes if passes else 0.0, memory=memory, budget=budget, chosen=chosen,
        shorter=short,
    )  # fmt: skip
    say_plan(forecast.line(), expected)
    return share, forecast


def say_tasks_alone(tasks: int, memory: tuple[int, int]) -> None:
    """The plan of an evaluation that has nothing but tasks of lm-evaluation-harness."""
    needs = f"{size(memory[0])} of {size(memory[1])} free memory"
    say_plan(f"plan: {needs}; {_tasks(tasks)}, whose time is not foretold", {})


def is_wanted(budget: str | None) -> bool:
    """Whether a plan is needed: for a budget, or because it would be shown."""
    return budget is not None or wants_plan()


def memory_for(
    model: PreTrainedModel, held_as: str | None, machine: Machine, settings: EvaluationSettings, rows: int
) -> tuple[int, int]:
    """Bytes that forward passes need, with weights that are held so, and bytes free."""
    longest = max(settings.window or 2, *(settings.lengths or (2,)))
    return forward_memory(model, machine, tokens=longest, batch_size=rows, quantize=held_as)


def _in_words(share: Share) -> str:
    parts = []
    if share.documents:
        parts.append(f"{share.documents} document{'s' if share.documents > 1 else ''}")
    if share.seeds:
        parts.append(f"needles of {share.seeds} seed{'s' if share.seeds > 1 else ''}")
    return " and ".join(parts)


def _tasks(count: int) -> str:
    return f"{count} task{'s' if count > 1 else ''}"
