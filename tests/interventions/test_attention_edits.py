"""Attention edits against a plain table of weights, on blocks of three structures; and that nothing of them stays."""

from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest
import torch
from families import tiny
from slow_attention import Rule, decoded, slowly
from torch import Tensor
from transformers import PreTrainedModel

from sinkscope.capture.scope import Scope
from sinkscope.capture.settings import Settings
from sinkscope.errors import RequestError, SinkscopeError
from sinkscope.interventions.attention import cached, heads_ablated, sinks_hidden, values_zeroed
from sinkscope.models.taps.edits import SlidingCache
from sinkscope.vscale import attach_

STRUCTURES = ("llama_gqa", "gemma2", "gemma3_text", "gpt_neox", "cohere")
T = 13

Edit = Callable[[PreTrainedModel], AbstractContextManager[None]]
EDITS: dict[str, tuple[Edit, Rule]] = {
    "first key hidden": (lambda m: sinks_hidden(m, (0,)), Rule(sees=lambda t, j: j != 0 or t == 0)),
    "keys hidden": (lambda m: sinks_hidden(m, (5, 0, 6)), Rule(sees=lambda t, j: j not in (0, 5, 6) or t == j)),
    "unweighted": (
        lambda m: sinks_hidden(m, (0, 4), renormalized=False),
        Rule(keeps_weight=lambda t, j: j not in (0, 4) or t == j),
    ),
    "valueless": (lambda m: values_zeroed(m, (0, 3)), Rule(valueless=(0, 3))),
    "heads": (lambda m: heads_ablated(m, {1: (0, 3)}), Rule(heads=(0, 3), layers=(1,))),
    "one layer": (lambda m: sinks_hidden(m, (0,), layers=(2,)), Rule(sees=lambda t, j: j != 0 or t == 0, layers=(2,))),
    "cache": (lambda m: cached(m, SlidingCache(2, 3)), Rule(sees=lambda t, j: j < 2 or j > t - 3)),
    "window": (lambda m: cached(m, SlidingCache(0, 4)), Rule(sees=lambda t, j: j > t - 4)),
    "others kept": (
        lambda m: cached(m, SlidingCache(2, 3, kept=(1, 5))),
        Rule(sees=lambda t, j: j in (1, 5) or j > t - 3),
    ),
}


@pytest.fixture(scope="module", params=STRUCTURES)
def model(request: pytest.FixtureRequest) -> PreTrainedModel:
    return tiny(request.param, sharpness=8.0)


@pytest.fixture(scope="module")
def ids() -> Tensor:
    return torch.randint(3, 258, (2, T), generator=torch.Generator().manual_seed(1))


@torch.no_grad()
def _logits(model: PreTrainedModel, ids: Tensor) -> Tensor:
    logits: Tensor = model(input_ids=ids, use_cache=False).logits
    return logits


@pytest.mark.parametrize("name", EDITS)
def test_an_edit_is_what_a_plain_table_of_weights_says(model: PreTrainedModel, ids: Tensor, name: str) -> None:
    edit, rule = EDITS[name]
    before = _logits(model, ids)
    with edit(model):
        edited = _logits(model, ids)
    with slowly(model, rule):
        slow = _logits(model, ids)
    torch.testing.assert_close(edited, slow, atol=2e-5, rtol=1e-4)
    assert (edited - before).abs().max() > 1e-3
    assert torch.equal(_logits(model, ids), before)  # bit for bit


@pytest.mark.parametrize("name", EDITS)
def test_what_is_measured_is_the_edited_model(model: PreTrainedModel, ids: Tensor, name: str) -> None:
    edit, _ = EDITS[name]
    with edit(model):
        alone = _logits(model, ids)
        with Scope(model, Settings(backward=False, early=3, positions=8)), torch.no_grad():
            measured = model(input_ids=ids, use_cache=False).logits
        assert torch.equal(_logits(model, ids), alone)
    torch.testing.assert_close(measured, alone, atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("name", ["first key hidden", "unweighted", "valueless", "cache", "heads"])
def test_gradients_are_those_of_the_edited_model(ids: Tensor, name: str) -> None:
    model = tiny("llama_gqa", sharpness=8.0)
    edit, rule = EDITS[name]
    gradients = []
    for context in (edit(model), slowly(model, rule)):
        model.zero_grad()
        with context:
            model(input_ids=ids, labels=ids, use_cache=False).loss.backward()
        gradients.append([p.grad.clone() for p in model.parameters() if p.grad is not None])
    for fast, slow in zip(*gradients, strict=True):
        torch.testing.assert_close(fast, slow, atol=1e-5, rtol=1e-3)


@pytest.mark.parametrize("name", EDITS)
def test_decoding_by_tokens_and_by_chunks_equals_one_pass(model: PreTrainedModel, ids: Tensor, name: str) -> None:
    """Past the cache's size, over the model's own cache; chunks of 3 and 5 divide neither 13 nor that size."""
    edit, _ = EDITS[name]
    with edit(model):
        whole = _logits(model, ids)
        for size in (1, 3, 5):
            torch.testing.assert_close(decoded(model, ids, size), whole, atol=2e-5, rtol=1e-4)


def test_edits_stack(ids: Tensor) -> None:
    model = tiny("llama_gqa", sharpness=8.0)
    before = _logits(model, ids)
    rule = Rule(sees=lambda t, j: (j > t - 4 or j < 2) and (j != 0 or t == 0), valueless=(5,), heads=(1,))
    with cached(model, SlidingCache(2, 4)):
        alone = _logits(model, ids)
        with sinks_hidden(model, (0,)), values_zeroed(model, (5,)), heads_ablated(model, dict.fromkeys(range(3), (1,))):
            stacked = _logits(model, ids)
        assert torch.equal(_logits(model, ids), alone)
    with slowly(model, rule):
        torch.testing.assert_close(stacked, _logits(model, ids), atol=2e-5, rtol=1e-4)
    assert torch.equal(_logits(model, ids), before)


def test_what_does_not_stack_is_refused(ids: Tensor) -> None:
    model = tiny("llama_gqa")
    before = _logits(model, ids)
    with cached(model, SlidingCache(2, 4)):
        with pytest.raises(RequestError, match="two sliding caches"), cached(model, SlidingCache(0, 3)):
            pass
        with pytest.raises(RequestError, match="does not stack"), sinks_hidden(model, (0,), renormalized=False):
            pass
    assert torch.equal(_logits(model, ids), before)


def test_an_exception_inside_leaves_the_model_as_it_was(ids: Tensor) -> None:
    model = tiny("llama_gqa")
    before = _logits(model, ids)
    with pytest.raises(ZeroDivisionError), sinks_hidden(model, (0,)):
        _ = 1 / 0
    assert torch.equal(_logits(model, ids), before)


def test_a_model_with_vscale_keeps_its_valve(ids: Tensor) -> None:
    """The hidden token's value, valved or not, is in no other row: so zeroing it first changes nothing there."""
    model = tiny("llama_gqa", sharpness=8.0)
    plain = _logits(model, ids)
    attach_(model)
    before = _logits(model, ids)
    with heads_ablated(model, {0: ()}):
        torch.testing.assert_close(_logits(model, ids), before)
    with values_zeroed(model, (0,)):
        zeroed = _logits(model, ids)
        with Scope(model, Settings(backward=False, early=3, positions=8)), torch.no_grad():
            torch.testing.assert_close(model(input_ids=ids, use_cache=False).logits, zeroed, atol=2e-5, rtol=1e-4)
    assert torch.equal(_logits(model, ids), before)
    assert not torch.allclose(zeroed, before)
    assert not torch.allclose(before, plain)


def test_attention_that_calls_torch_itself_is_edited_too(ids: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny("falcon_two_norms", sharpness=8.0)
    before = _logits(model, ids)
    with sinks_hidden(model, (0,)):
        hidden = _logits(model, ids)
        with Scope(model, Settings(backward=False, early=3, positions=8)), torch.no_grad():
            measured = model(input_ids=ids, use_cache=False).logits
    torch.testing.assert_close(measured, hidden, atol=2e-5, rtol=1e-4)
    assert torch.equal(_logits(model, ids), before)

    def plainly(q: Tensor, k: Tensor, v: Tensor, *_: object, scale: float | None = None, **__: object) -> Tensor:
        k, v = (x.repeat_interleave(q.shape[1] // x.shape[1], dim=1) for x in (k, v))
        scores = q @ k.transpose(-1, -2) * (q.shape[-1] ** -0.5 if scale is None else scale)
        seen = torch.ones(T, T, dtype=torch.bool).tril()
        seen[1:, 0] = False
        return scores.masked_fill(~seen, -torch.inf).softmax(-1) @ v

    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", plainly)
    torch.testing.assert_close(hidden, _logits(model, ids), atol=2e-5, rtol=1e-4)


def test_padding_is_refused(ids: Tensor) -> None:
    model = tiny("llama_gqa")
    mask = torch.ones_like(ids)
    mask[0, :3] = 0
    with sinks_hidden(model, (0,)), pytest.raises(RequestError, match="padded"):
        model(input_ids=ids, attention_mask=mask, use_cache=False)


def test_bad_places_are_refused() -> None:
    model = tiny("llama_gqa")
    for make, words in (
        (lambda: sinks_hidden(model, (0,), layers=(3,)), "layers 0 to 2"),
        (lambda: heads_ablated(model, {0: (4,)}), "heads 0 to 3"),
        (lambda: heads_ablated(model, {7: (0,)}), "layers 0 to 2"),
        (lambda: SlidingCache(-1, 3), "0 or more first"),
        (lambda: SlidingCache(1, 0), "1 or more recent"),
        (lambda: SlidingCache(1, 2, "both"), "original or cache"),
        (lambda: cached(tiny("gpt2"), SlidingCache(1, 4, "cache")), "learned positions"),
        (lambda: cached(tiny("gemma3_text"), SlidingCache(1, 8, "cache")), "own window of 6"),
    ):
        with pytest.raises(RequestError, match=words):
            make()


def test_an_implementation_without_masks_of_its_own_is_refused() -> None:
    model = tiny("llama_gqa")
    model.config._attn_implementation = "flash_attention_2"
    with pytest.raises(SinkscopeError, match="eager, sdpa, not under flash"), sinks_hidden(model, (0,)):
        pass
