"""Attention with something taken away, written down plainly: a full table of weights, one loop per row.

It shares no code with what it checks. `slowly(model, rule)` makes a model call it in the place of its own attention.
"""

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface, DynamicCache, PreTrainedModel
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS

NAME = "plain_table_of_weights"


class Rule(NamedTuple):
    """What happens to each row: keys that are not seen, weights that go, values that are zero, heads that are zero."""

    sees: Callable[[int, int], bool] = lambda _query, _key: True
    keeps_weight: Callable[[int, int], bool] = lambda _query, _key: True
    valueless: tuple[int, ...] = ()
    heads: tuple[int, ...] = ()
    layers: tuple[int, ...] | None = None
    score: Callable[[Tensor, Tensor, int, int], Tensor] = lambda q, k, _query, _key: q @ k


_rule = Rule()


@torch.no_grad()
def decoded(model: PreTrainedModel, ids: Tensor, size: int) -> Tensor:
    """Logits of one chunk after another, over the model's own cache."""
    name = "cache" if "cache" in inspect.signature(model.forward).parameters else "past_key_values"
    options = {name: DynamicCache(config=model.config), "use_cache": True}
    return torch.cat([model(input_ids=chunk, **options).logits for chunk in ids.split(size, dim=1)], dim=1)


def _attention(
    module: nn.Module, q: Tensor, k: Tensor, v: Tensor, mask: Tensor, *, scaling: float, softcap: float | None = None,
    **_: Any,
) -> tuple[Tensor, None]:  # fmt: skip
    rule = _rule if _rule.layers is None or module.layer_idx in _rule.layers else Rule()
    group = q.shape[1] // k.shape[1]
    y = torch.zeros(*q.shape[:3], v.shape[-1])
    for b in range(q.shape[0]):
        for h in range(q.shape[1]):
            if h in rule.heads:
                continue
            for t in range(q.shape[2]):
                keys = [j for j in range(t + 1) if rule.sees(t, j) and float(mask[b, 0, t, j]) == 0]
                scores = torch.stack([scaling * rule.score(q[b, h, t], k[b, h // group, j], t, j) for j in keys])
                if softcap is not None:
                    scores = softcap * torch.tanh(scores / softcap)
                for weight, j in zip(scores.softmax(0), keys, strict=True):
                    if rule.keeps_weight(t, j) and j not in rule.valueless:
                        y[b, h, t] += weight * v[b, h // group, j]
    return y.transpose(1, 2), None


AttentionInterface.register(NAME, _attention)
AttentionMaskInterface.register(NAME, ALL_MASK_ATTENTION_FUNCTIONS["eager"])


@contextmanager
def slowly(model: PreTrainedModel, rule: Rule) -> Iterator[None]:
    """While entered, a model's attention follows a rule."""
    global _rule
    before = model.config._attn_implementation
    model.set_attn_implementation(NAME)
    _rule = rule
    try:
        yield
    finally:
        _rule = Rule()
        model.set_attn_implementation(before)
