"""A cache whose positions count from its own start: one masked pass against decoding with a cache that is really cut.

The slow version keeps keys before their rotation, cuts them to the first N and the last K with every token, and
rotates what is left as if it stood at 0, 1, 2, ...: StreamingLLM, as its paper has it.
"""

from typing import Any

import pytest
import torch
from families import tiny
from slow_attention import decoded
from torch import Tensor
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS

from sinkscope.interventions.attention import cached, values_zeroed
from sinkscope.models.taps.edits import SlidingCache

T = 17


def _halves(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    a, b = x.chunk(2, -1)
    return x * cos + torch.cat([-b, a], -1) * sin


def _neighbours(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    turned = torch.stack([-x[..., 1::2], x[..., 0::2]], -1).flatten(-2)
    return x * cos + turned * sin


def _neighbours_of_halves(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Tables that hold each angle in both halves, for channels that stand side by side."""
    return _neighbours(x, *(table[..., : table.shape[-1] // 2].repeat_interleave(2, -1) for table in (cos, sin)))


_MODULES: dict[str, Any] = {"llama_gqa": _halves, "gemma3_text": _halves, "gpt_neox": _halves, "cohere": _neighbours,
                            "glm": _neighbours_of_halves}  # fmt: skip


@torch.no_grad()
def _cut(model: PreTrainedModel, ids: Tensor, first: int, recent: int, rotate: Any) -> Tensor:
    """Logits of token after token, each layer's keys before rotation cut to the first and the last ones."""
    kept: dict[int, tuple[Tensor, Tensor]] = {}
    tables: dict[int, tuple[Tensor, Tensor]] = {}

    def attention(module: Any, q: Tensor, k: Tensor, v: Tensor, _mask: Any, *, scaling: float, **_: Any) -> Any:
        layer = module.layer_idx
        if layer in kept:
            k, v = torch.cat([kept[layer][0], k], 2), torch.cat([kept[layer][1], v], 2)
        if k.shape[2] > first + recent:
            k = torch.cat([k[:, :, :first], k[:, :, k.shape[2] - recent :]], 2)
            v = torch.cat([v[:, :, :first], v[:, :, v.shape[2] - recent :]], 2)
        kept[layer] = k, v
        cos, sin = (table[:, None, : k.shape[2]] for table in tables[layer])
        r = cos.shape[-1]
        k = torch.cat([rotate(k[..., :r], cos, sin), k[..., r:]], -1)
        q = torch.cat([rotate(q[..., :r], cos[:, :, -1:], sin[:, :, -1:]), q[..., r:]], -1)
        k, v = (x.repeat_interleave(q.shape[1] // x.shape[1], dim=1) for x in (k, v))
        weights = (q @ k.transpose(-1, -2) * scaling).softmax(-1)
        return (weights @ v).transpose(1, 2), None

    AttentionInterface.register("cut_cache", attention)
    AttentionMaskInterface.register("cut_cache", ALL_MASK_ATTENTION_FUNCTIONS["sdpa"])
    layers = [module for module in model.modules() if hasattr(module, "layer_idx") and hasattr(module, "is_causal")]

    def look(module: Any, _args: Any, kwargs: Any) -> None:
        tables[module.layer_idx] = kwargs["position_embeddings"]

    handles = [module.register_forward_pre_hook(look, with_kwargs=True) for module in layers]
    model(input_ids=ids, use_cache=False)  # the tables of all positions
    whole = dict(tables)
    for handle in handles:
        handle.remove()
    before = model.config._attn_implementation
    model.set_attn_implementation("cut_cache")
    try:
        logits = []
        for t in range(ids.shape[1]):
            tables.update(whole)
            at_zero = torch.zeros(len(ids), 1, dtype=torch.long)  # position 0 rotates nothing
            logits.append(model(input_ids=ids[:, t : t + 1], position_ids=at_zero, use_cache=False).logits)
    finally:
        model.set_attn_implementation(before)
    return torch.cat(logits, 1)


@pytest.mark.parametrize("name", _MODULES)
@pytest.mark.parametrize(("first", "recent"), [(2, 4), (1, 3), (0, 5)])
def test_one_pass_equals_decoding_with_a_cache_that_is_cut(name: str, first: int, recent: int) -> None:
    changes = {"layer_types": ["full_attention"] * 3} if name == "gemma3_text" else {}
    model = tiny(name, sharpness=4.0, **changes)
    ids = torch.randint(3, 258, (2, T), generator=torch.Generator().manual_seed(2))
    slow = _cut(model, ids, first, recent, _MODULES[name])
    with torch.no_grad():
        before = model(input_ids=ids, use_cache=False).logits
        with cached(model, SlidingCache(first, recent, "cache")):
            fast = model(input_ids=ids, use_cache=False).logits
            for size in (1, 3, 5, first + recent, 7):
                torch.testing.assert_close(decoded(model, ids, size), fast, atol=5e-5, rtol=1e-4)
        after = model(input_ids=ids, use_cache=False).logits
    torch.testing.assert_close(fast, slow, atol=5e-5, rtol=1e-4)
    assert torch.equal(before, after)
    if first:
        with cached(model, SlidingCache(first, recent)), torch.no_grad():
            original = model(input_ids=ids, use_cache=False).logits
        assert (original - fast).abs().max() > 1e-4  # the two kinds differ


def test_it_stacks_in_either_order() -> None:
    model = tiny("llama_gqa", sharpness=4.0)
    ids = torch.randint(3, 258, (2, T), generator=torch.Generator().manual_seed(2))
    made = []
    with torch.no_grad():
        with cached(model, SlidingCache(2, 4, "cache")), values_zeroed(model, (1,)):
            made.append(model(input_ids=ids, use_cache=False).logits)
        with values_zeroed(model, (1,)), cached(model, SlidingCache(2, 4, "cache")):
            made += [model(input_ids=ids, use_cache=False).logits, decoded(model, ids, 5)]
    assert torch.equal(made[0], made[1])
    torch.testing.assert_close(made[2], made[1], atol=5e-5, rtol=1e-4)
