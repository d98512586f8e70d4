"""Greedy continuation by transformers' `generate`, with its key/value cache.

A checkpoint's own generation settings (sampling, penalties) are left out for the while: what is measured is the model.
Prompts of a batch are padded on the left, and their positions count from their first real token.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import Tensor
from transformers import (
    GenerationConfig,
    LogitsProcessor,
    LogitsProcessorList,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from sinkscope.errors import SinkscopeError
from sinkscope.passes.modes import input_device


def continue_greedily(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: list[list[int]],
    new_tokens: int,
    *,
    cache: Mapping[str, Any] | None = None,
) -> list[str]:
    """What a model writes after each prompt: the likeliest token each time, until <eos> or `new_tokens`.

    Args:
        model: in evaluation mode.
        tokenizer: the model's; it may lack an <eos>.
        prompts: token ids.
        new_tokens: tokens to write at most.
        cache: what transformers' quantized cache is made with; None for its usual cache.

    Raises:
        SinkscopeError: if a logit is not finite, where the likeliest token would be none.
    """
    longest = max(len(prompt) for prompt in prompts)
    ids = torch.zeros(len(prompts), longest, dtype=torch.int64)
    mask = torch.zeros_like(ids)
    for row, prompt in enumerate(prompts):
        ids[row, longest - len(prompt) :] = torch.tensor(prompt)
        mask[row, longest - len(prompt) :] = 1
    device = input_device(model)
    with _greedy(model, tokenizer, new_tokens) as settings, torch.no_grad():
        if cache is not None:
            settings.cache_implementation, settings.cache_config = "quantized", dict(cache)
        written = cast("Any", model).generate(
            ids.to(device), attention_mask=mask.to(device), generation_config=settings,
            logits_processor=LogitsProcessorList([_Finite()]),
        )  # fmt: skip
    return [_decoded(tokenizer, row[longest:]) for row in written]


def _decoded(tokenizer: PreTrainedTokenizerBase, ids: Tensor) -> str:
    return str(tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False))


class _Finite(LogitsProcessor):
    """Lets scores pass as they are, and refuses those that are not finite."""

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:  # noqa: ARG002
        if not bool(scores.isfinite().all()):
            raise SinkscopeError("non-finite logits while generating: try `dtype=float32` or bfloat16")
        return scores


@contextmanager
def _greedy(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, new_tokens: int) -> Iterator[GenerationConfig]:
    """Greedy settings; the model's own, which would fill whatever they leave open, are put back afterwards."""
    own: Any = getattr(model, "generation_config", None)
    last = getattr(own, "eos_token_id", None)
    last = tokenizer.eos_token_id if last is None else last
    first = last[0] if isinstance(last, list) else last
    settings = GenerationConfig(
        max_new_tokens=new_tokens, do_sample=False, num_beams=1, use_cache=True,
        eos_token_id=last, pad_token_id=0 if first is None else first,
    )  # fmt: skip
    cast("Any", model).generation_config = settings
    try:
        yield settings
    finally:
        cast("Any", model).generation_config = own
