"""What is measured of a variation beside its losses: headline quantities of `analyze`, and needles in a haystack."""

from dataclasses import dataclass
from typing import Any

from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from sinkscope.ablation.steps.step import Variation
from sinkscope.analysis.measure import measure
from sinkscope.capture.settings import Settings
from sinkscope.errors import SinkscopeError
from sinkscope.evaluation.retrieval import Cell, ask_needles
from sinkscope.tables.run_folder import Run

SINK_RATE, GRADIENT_SINK = "sink_rate_mean", "gradient_sink_median"


def settings_for(tokens: int, *, backward: bool) -> Settings:
    """What is measured, on windows that may be shorter than the defaults."""
    return Settings(
        backward=backward, early=min(Settings.early, tokens - 2), positions=min(Settings.positions, tokens - 1)
    )


@dataclass(frozen=True)
class Again:
    """Measures variations of one model.

    Attributes:
        model: the model.
        tokenizer: its tokenizer.
        input_ids: the windows [n, T] that headline quantities are measured on; n may be 0.
        settings: what is measured of them.
        batch_size: windows, or prompts, per forward pass.
        cells: needles to ask for; empty leaves them out.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase | None
    input_ids: Tensor
    settings: Settings
    batch_size: int
    cells: list[Cell]

    def quantities(self, variation: Variation) -> dict[str, Any]:
        """Headline numbers by name, or under `failed` why there are none."""
        ids = variation.read(self.input_ids).input_ids
        try:
            with variation.enter():
                run = measure(self.model, ids, settings=self.settings, batch_size=self.batch_size)
        except SinkscopeError as error:  # a model that was broken on purpose may yield what is not finite
            return {"failed": str(error)}
        return numbers(run)

    def found(self, variation: Variation) -> list[bool]:
        """Which needles are found."""
        with variation.enter():  # a prompt at a time: positions count from each one's first token
            needles = ask_needles(self.model, self.tokenizer, self.cells)["needles"]  # type: ignore[arg-type]
        return [bool(found) for found in needles["found"]]


def numbers(run: Run) -> dict[str, Any]:
    """The headline numbers of an analysis that are single numbers."""
    return {
        name: float(value)
        for name, value in run.info["headline"].items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    }
