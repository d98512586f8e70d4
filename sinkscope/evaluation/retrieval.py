"""The needle test: every variant, context length, depth and seed, asked and scored."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from sinkscope.capture.passes import frozen, memory_told, shown
from sinkscope.errors import SinkscopeError
from sinkscope.evaluation.generation import continue_greedily
from sinkscope.evaluation.haystack import read_haystack
from sinkscope.evaluation.intervals import wilson
from sinkscope.evaluation.needles import VARIANTS, Prompt, found, make_prompt
from sinkscope.evaluation.settings import EvaluationSettings
from sinkscope.tables.rows import Rows
from sinkscope.text.documents import Document
from sinkscope.text.packing import adds_bos

_SUPPLY = 4  # words read for each token of the longest context, so that seeds see different parts of the text


def needle_tables(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    documents: Iterable[Document],
    settings: EvaluationSettings,
    lengths: tuple[int, ...],
    *,
    bos: str = "auto",
    batch_size: int = 1,
    progress: bool = False,
) -> dict[str, pd.DataFrame]:
    """Asks a model for needles.

    Args:
        model: a causal LM.
        tokenizer: the model's.
        documents: the haystack.
        settings: variants, depths, seeds and new tokens.
        lengths: context lengths in tokens, within the model's context.
        bos: `always` or `never` force or forbid a <bos> before the prompt; `auto` follows the tokenizer.
        batch_size: prompts per `generate`.
        progress: show a progress bar on stderr.

    Returns:
        The tables `needles` and `needle_scores`.

    Raises:
        SinkscopeError: if a length exceeds the context or has no room for the question, or the haystack is too short.
    """
    _check_lengths(model, lengths)
    haystack = read_haystack(documents, _SUPPLY * max(lengths))
    prefix = _prefix(tokenizer, bos)
    cells = [(v, n, d, s) for v in settings.variants for n in lengths for d in grid(settings.depths)
             for s in range(settings.seeds)]  # fmt: skip
    prompts = [
        make_prompt(v, haystack, tokenizer, length=n, depth=d, prefix=prefix, new_tokens=settings.new_tokens,
                    seed=(settings.seed, s, list(VARIANTS).index(v), n, round(1000 * d)))
        for v, n, d, s in cells
    ]  # fmt: skip
    batches = list(_batches(list(zip(cells, prompts, strict=True)), batch_size))
    rows = Rows("needles")
    with frozen(model), memory_told(batch_size):
        for batch in shown(batches, "needles", progress):
            asked = [prompt for _, prompt in batch]
            answers = continue_greedily(model, tokenizer, [p.ids for p in asked], max(p.new_tokens for p in asked))
            for ((variant, length, depth, seed), prompt), answer in zip(batch, answers, strict=True):
                rows.add(variant=variant, length=length, depth=depth, seed=seed,
                         found=found(prompt.needle.value, answer), key=prompt.needle.key,
                         expected=prompt.needle.value, generated=answer, position=prompt.position,
                         prompt=len(prompt.ids))  # fmt: skip
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
    context = getattr(model.config, "max_position_embeddings", None)
    for length in lengths:
        if context is not None and length > context:
            raise SinkscopeError(
                f"a needle test over {length} tokens exceeds the model's context of {context}: use shorter --lengths, "
                f"or extend the model with --yarn {-(-length // context)}",
                exit_code=2,
            )


def _prefix(tokenizer: PreTrainedTokenizerBase, bos: str) -> list[int]:
    if bos == "never" or (bos == "auto" and not adds_bos(tokenizer)):
        return []
    if tokenizer.bos_token_id is None:
        raise SinkscopeError("the tokenizer has no <bos> token: use --bos never", exit_code=2)
    return [int(tokenizer.bos_token_id)]


def _batches(asked: list[tuple[Any, Prompt]], size: int) -> Iterable[list[tuple[Any, Prompt]]]:
    """Batches of at most `size` prompts of one context length."""
    batch: list[tuple[Any, Prompt]] = []
    for item in asked:
        if batch and (len(batch) == size or batch[0][0][1] != item[0][1]):
            yield batch
            batch = []
        batch.append(item)
    if batch:
        yield batch
