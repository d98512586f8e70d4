"""The needle test: every variant, context length, depth and seed, asked and scored."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import groupby, product
from typing import Any

import numpy as np
import pandas as pd
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from sinkscope.errors import RequestError
from sinkscope.evaluation.generation import continue_greedily
from sinkscope.evaluation.haystack import read_haystack
from sinkscope.evaluation.needles import VARIANTS, Prompt, contains_value, make_prompt
from sinkscope.evaluation.settings import DEFAULT_SEEDS, EvaluationSettings
from sinkscope.evaluation.texts import check_vocabulary
from sinkscope.intervals.wilson import wilson
from sinkscope.models.shape import context_of
from sinkscope.passes.memory import explained_memory_errors
from sinkscope.passes.modes import frozen
from sinkscope.progress.display import counted
from sinkscope.tables.builder import Rows
from sinkscope.text.documents import Document
from sinkscope.text.packing import adds_bos

_SUPPLY = 4  # words read for each token of the longest context, so that seeds see different parts of the text


@dataclass(frozen=True)
class Cell:
    """A needle to ask for: its variant, context length, depth and seed, and the prompt that asks."""

    variant: str
    length: int
    depth: float
    seed: int
    prompt: Prompt


def plan_needles(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    documents: Iterable[Document],
    settings: EvaluationSettings,
    lengths: tuple[int, ...],
    *,
    bos: str = "auto",
) -> list[Cell]:
    """Makes every prompt, so that nothing is left to go wrong when the model is asked.

    Args:
        model: a causal LM; its context bounds the lengths.
        tokenizer: the model's.
        documents: the haystack.
        settings: variants, depths, seeds and new tokens.
        lengths: context lengths in tokens.
        bos: `always` or `never` force or forbid a <bos> before the prompt; `auto` follows the tokenizer.

    Raises:
        SinkscopeError: if a length exceeds the context or has no room for the question, or the haystack is too short.
    """
    _check_lengths(model, lengths)
    haystack = read_haystack(documents, _SUPPLY * max(lengths))
    prefix = _prefix(tokenizer, bos)
    wanted = list(product(settings.variants, lengths, grid(settings.depths), range(settings.seeds or DEFAULT_SEEDS)))
    plan = []
    for variant, length, depth, seed in counted(wanted, "writing prompt"):
        drawn = (settings.seed, seed, list(VARIANTS).index(variant), length, round(1000 * depth))
        prompt = make_prompt(
            variant, haystack, tokenizer, length=length, depth=depth, seed=drawn, prefix=prefix,
            new_tokens=settings.new_tokens,
        )  # fmt: skip
        plan.append(Cell(variant, length, depth, seed, prompt))
    check_vocabulary(model, (cell.prompt.ids for cell in plan))
    return plan


def ask_needles(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    plan: list[Cell],
    *,
    batch_size: int = 1,
    cache: Mapping[str, Any] | None = None,
) -> dict[str, pd.DataFrame]:
    """Asks a model for needles.

    Args:
        model: a causal LM.
        tokenizer: the model's.
        plan: of `plan_needles`.
        batch_size: prompts per `generate`.
        cache: what transformers' quantized cache is made with; None for its usual cache.

    Returns:
        The tables `needles` and `needle_scores`.
    """
    if batch_size < 1:
        raise RequestError("`batch_size` must be at least 1")
    batches = _batches(plan, batch_size)
    answers = [""] * len(plan)
    with frozen(model), explained_memory_errors(batch_size):
        for batch in counted(batches, "needle"):
            prompts = [plan[number].prompt for number in batch]
            ids, most = [prompt.ids for prompt in prompts], prompts[0].new_tokens
            written = continue_greedily(model, tokenizer, ids, most, cache=cache)
            for number, answer in zip(batch, written, strict=True):
                answers[number] = answer
    rows = Rows("needles")
    for cell, answer in zip(plan, answers, strict=True):
        needle = cell.prompt.needle
        rows.add(variant=cell.variant, length=cell.length, depth=cell.depth, seed=cell.seed,
                 found=contains_value(needle.value, answer), key=needle.key, expected=needle.value, generated=answer,
                 position=cell.prompt.position, prompt=len(cell.prompt.ids))  # fmt: skip
    needles = rows.frame()
    return {"needles": needles, "needle_scores": scores(needles)}


def grid(depths: int) -> list[float]:
    """Depths from the start to the end of the haystack, evenly spaced; a single one is its middle."""
    return [0.5] if depths == 1 else [float(depth) for depth in np.linspace(0, 1, depths)]


def scores(needles: pd.DataFrame) -> pd.DataFrame:
    """The table `needle_scores`: share of needles found by variant and length, with Wilson's interval."""
    rows = Rows("needle_scores")
    for (variant, length), group in needles.groupby(["variant", "length"], sort=False):
        hits, count = int(group["found"].sum()), len(group)
        low, high = wilson(hits, count)
        rows.add(variant=str(variant), length=length, needles=count, score=hits / count, low=low, high=high)
    return rows.frame()


def _check_lengths(model: PreTrainedModel, lengths: tuple[int, ...]) -> None:
    context = context_of(model.config)
    for length in lengths:
        if context is not None and length > context:
            raise RequestError(
                f"a needle test over {length} tokens exceeds the model's context of {context}: use shorter `lengths`, "
                f"or extend the model with `yarn={-(-length // context)}`"
            )


def _prefix(tokenizer: PreTrainedTokenizerBase, bos: str) -> list[int]:
    if bos == "never" or (bos == "auto" and not adds_bos(tokenizer)):
        return []
    if tokenizer.bos_token_id is None:
        raise RequestError("the tokenizer has no <bos> token: use `bos=never`")
    return [int(tokenizer.bos_token_id)]


def _batches(plan: list[Cell], size: int) -> list[list[int]]:
    """Numbers of the cells in batches of at most `size`, each of one context length and one number of new tokens."""

    def kind(number: int) -> tuple[int, int]:
        return plan[number].length, plan[number].prompt.new_tokens

    groups = [list(group) for _, group in groupby(sorted(range(len(plan)), key=kind), key=kind)]
    return [group[start : start + size] for group in groups for start in range(0, len(group), size)]
