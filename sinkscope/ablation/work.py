"""The work of an ablation, piece by piece: what there is to take away, and what each step does. Each piece is kept."""

from dataclasses import replace
from functools import partial
from typing import Any

from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from sinkscope.ablation.again import Again, settings_for
from sinkscope.ablation.assemble import Measured, untouched
from sinkscope.ablation.kept import Kept
from sinkscope.ablation.plan import ANALYZING, INTERVENTIONS
from sinkscope.ablation.scores import Scores, Untouched
from sinkscope.ablation.settings import ALL, SUPER_WEIGHTS, AblationRequest, named
from sinkscope.ablation.steps.step import Step, Variation
from sinkscope.ablation.targets import Targets, targets_of
from sinkscope.analysis.measure import measure
from sinkscope.evaluation.retrieval import Cell
from sinkscope.interventions.weights import SuperWeight, find_super_weights
from sinkscope.passes.batches import batches_of
from sinkscope.progress.display import counted, stage
from sinkscope.tables.run_folder import Run


class Work:
    """What is measured, piece by piece; each piece is kept.

    Args:
        request: with its windows settled.
        model: under its method.
        tokenizer: the model's.
        input_ids: windows [N, T].
        kept: where pieces go.
    """

    def __init__(
        self,
        request: AblationRequest,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        input_ids: Tensor,
        kept: Kept,
    ) -> None:
        self.request, self.model, self.tokenizer = request, model, tokenizer
        self.input_ids, self.kept = input_ids, kept
        self._settings, self._batch_size = request.settings, request.windows.batch_size
        self._measuring = settings_for(input_ids.shape[1], backward=self._settings.backward)

    def targets(self, known: Run | None) -> Targets:
        """What there is to take away."""
        if known is not None:
            return targets_of(known)
        stage(ANALYZING)
        forward = replace(self._measuring, backward=False)
        run = measure(
            self.model, self.input_ids, settings=forward, batch_size=self._batch_size, tokenizer=self.tokenizer
        )
        return targets_of(run)

    def super_weights(self) -> list[SuperWeight]:
        """Those that the first window gives away, where they are asked for."""
        if not {ALL, SUPER_WEIGHTS} & set(named(self._settings.what)):
            return []
        return find_super_weights(self.model, batches_of(self.input_ids[:1], None, 1)[0])

    def measured(self, steps: list[Step], cells: list[Cell]) -> tuple[list[Measured], Any, list[str]]:
        """Everything of the untouched model and of each step, the ends of the bins, and what could not be measured."""
        if not steps:
            return [], [], []
        before = Untouched(self.model, self.input_ids, self._batch_size)
        again = Again(
            self.model, self.tokenizer, self.input_ids[: self._settings.measured], self._measuring, self._batch_size,
            cells,
        )  # fmt: skip
        plain = Variation()
        exact = self._quantities(again, plain, "untouched")
        found = self._needles(again, plain, "untouched")
        done = [untouched(before.scores(), exact, found)]
        failed: list[str] = []
        for number, step in enumerate(counted(steps, INTERVENTIONS)):
            one = self._step(step, number, before, again)
            done.append(one)
            if "failed" in one.quantities:
                failed.append(f"{step.key}: headline quantities were not measured: {one.quantities['failed']}")
        return done, before.edges, failed

    def _step(self, step: Step, number: int, before: Untouched, again: Again) -> Measured:
        name = f"step-{number}"
        seeds = [1 + draw + 1000 * self._settings.seed for draw in range(self._settings.draws)]

        def scored(variation: Variation, title: str) -> dict[str, Any]:
            scores = before.against(variation, title)
            size = step.size if variation.tally is None else variation.tally.mean
            return {"size": size, **scores.as_json()}

        own = self.kept.get(name, lambda: scored(step.own, step.key))
        size = own.pop("size")
        controls, first = [], None
        for draw, seed in enumerate(seeds if step.control is not None else []):
            assert step.control is not None  # noqa: S101  (there are seeds)
            variation = step.control(seed)
            first = first or variation
            title = f"control {draw + 1} of {len(seeds)}"
            stored = self.kept.get(f"{name}-control-{draw}", partial(scored, variation, title))
            controls.append(Scores.from_json({key: value for key, value in stored.items() if key != "size"}))
        quantities: dict[str, Any] = {}
        control_quantities: dict[str, Any] = {}
        if step.measured:
            quantities = self._quantities(again, step.own, name)
            control_quantities = self._quantities(again, first, f"{name}-control") if first else {}
        needles: list[bool] = []
        control_needles: list[bool] = []
        if step.asks:
            needles = self._needles(again, step.own, name)
            control_needles = self._needles(again, first, f"{name}-control") if first else []
        return Measured(step.what, step.where, step.unit, float(size), Scores.from_json(own), controls, quantities,
                        control_quantities, needles, control_needles)  # fmt: skip

    def _quantities(self, again: Again, variation: Variation, name: str) -> dict[str, Any]:
        if not len(again.input_ids):
            return {}
        return self.kept.get(f"{name}-quantities", lambda: again.quantities(variation))

    def _needles(self, again: Again, variation: Variation, name: str) -> list[bool]:
        if not again.cells:
            return []
        found: list[bool] = self.kept.get(f"{name}-needles", lambda: {"found": again.found(variation)})["found"]
        return found
