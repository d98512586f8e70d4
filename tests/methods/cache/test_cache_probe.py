"""One pass over a whole sequence sees what decoding token by token from a rounded cache sees."""

import copy

import families
import pytest
import slow_cache
import tiny
import torch
from torch import Tensor
from transformers import PreTrainedModel

from sinkscope.errors import RequestError, SinkscopeError
from sinkscope.interventions.attention import sinks_hidden
from sinkscope.methods.cache.attention import _ROWS
from sinkscope.methods.cache.probe import CacheProbe
from sinkscope.methods.cache.rounding import rounded_keys, rounded_values
from sinkscope.methods.choose import choose
from sinkscope.methods.grammar import CacheRounding, parse
from sinkscope.vscale import attach_

IDS = (7 * torch.arange(2, 52).view(2, 25)) % 250
CASES = [(4, 4, 4, 0, 0), (2, 2, 4, 3, 0), (2, 4, 8, 1, 6), (8, 2, 4, 0, 5), (4, 8, 4, 2, 100)]


def probe(*how: int) -> CacheProbe:
    return CacheProbe(CacheRounding(*how))


@torch.no_grad()
def whole(model: PreTrainedModel, ids: Tensor = IDS) -> Tensor:
    result: Tensor = model(input_ids=ids, use_cache=False).logits
    return result


@torch.no_grad()
def token_by_token(model: PreTrainedModel, *how: int) -> Tensor:
    cache = slow_cache.SlowCache(*how)
    steps = [
        model(input_ids=IDS[:, t : t + 1], past_key_values=cache, use_cache=True).logits for t in range(IDS.shape[1])
    ]
    return torch.cat(steps, dim=1)


@pytest.mark.parametrize("how", CASES)
@pytest.mark.parametrize("kind", ["llama_gqa", "qwen3_mha"])
def test_a_pass_sees_what_decoding_sees(kind: str, how: tuple[int, ...]) -> None:
    model = tiny.build(kind, initializer_range=0.3)
    exact = whole(model)
    with probe(*how).entered(model):
        found = whole(model)
    torch.testing.assert_close(found, token_by_token(model, *how), rtol=1e-4, atol=1e-4)
    assert torch.equal(whole(model), exact)
    if how[4] > IDS.shape[1]:
        torch.testing.assert_close(found, exact, rtol=1e-4, atol=1e-5)  # all is in the window
    else:
        assert (found - exact).abs().max() > 1e-3


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_generation_from_its_own_cache_sees_the_same(attention: str) -> None:
    model = tiny.build("llama_gqa", initializer_range=0.3)
    model.set_attn_implementation(attention)
    with probe(2, 2, 4, 1, 3).entered(model), torch.no_grad():
        begun = model(input_ids=IDS[:, :20], use_cache=True)
        rest = model(input_ids=IDS[:, 20:], past_key_values=begun.past_key_values, use_cache=True).logits
        torch.testing.assert_close(torch.cat([begun.logits, rest], dim=1), whole(model), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", ["mistral_window", "gemma2", "gpt_oss", "falcon_two_norms", "gpt2"])
def test_everything_in_the_window_is_the_model_itself(kind: str) -> None:
    """Windows, soft caps, learned sinks and fused attention of the model's own stay as they are."""
    model = families.tiny(kind)
    ids = IDS[:, :12]
    exact = whole(model, ids)
    with probe(2, 2, 4, 0, 12).entered(model):
        torch.testing.assert_close(whole(model, ids), exact, rtol=1e-4, atol=1e-5)
    with probe(8, 8, 4, 0, 0).entered(model):
        near = (whole(model, ids) - exact).norm()
    with probe(2, 2, 4, 0, 0).entered(model):
        assert 0 < near < 0.5 * (whole(model, ids) - exact).norm()


def test_sequences_longer_than_a_block_of_queries() -> None:
    model = tiny.build("llama_gqa", initializer_range=0.3, max_position_embeddings=1024)
    ids = (11 * torch.arange(_ROWS + 40)[None]) % 250
    with probe(4, 4, 8, 2, 16).entered(model):
        long = whole(model, ids)
        torch.testing.assert_close(
            long[:, :100], whole(model, ids[:, :100]), rtol=1e-4, atol=1e-4
        )  # no later token shows
        torch.testing.assert_close(long[:, : _ROWS + 9], whole(model, ids[:, : _ROWS + 9]), rtol=1e-4, atol=1e-4)


def test_sinks_stay_exact() -> None:
    torch.manual_seed(0)
    k = torch.randn(1, 1, 11, 4)
    found = rounded_keys(k, 2, 4, 3)
    assert torch.equal(found[:, :, :3], k[:, :, :3])
    changed = (found != k).any(dim=3)[0, 0]
    assert changed.tolist() == [False] * 3 + [True] * 8
    assert torch.equal(rounded_keys(k, 2, 4, 8), k)  # three tokens are no group
    assert torch.equal(rounded_keys(k, 2, 4, 40), k)


@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_groups_agree_with_the_reference(bits: int, dtype: torch.dtype) -> None:
    torch.manual_seed(bits)
    x = (torch.randn(1, 2, 8, 8) * torch.logspace(-2, 3, 8) + 5).to(dtype)
    x[0, 0, 2] = 3.0
    v = [slow_cache.group(r[at : at + 4], bits) for r in x.float().flatten(0, 2).tolist() for at in (0, 4)]
    assert torch.equal(rounded_values(x, bits, 4).flatten(), torch.tensor(v).flatten().to(dtype))
    k = [slow_cache.group(r[at : at + 4], bits) for r in x.float().mT.flatten(0, 2).tolist() for at in (0, 4)]
    assert torch.equal(rounded_keys(x, bits, 4, 0).mT.flatten(), torch.tensor(k).flatten().to(dtype))


def test_vscale_is_put_on_what_was_read() -> None:
    model = attach_(tiny.build("llama_gqa", initializer_range=0.3))
    plain = copy.deepcopy(model)
    with probe(2, 2, 4, 0, 0).entered(model):
        torch.testing.assert_close(whole(model), token_by_token(plain, 2, 2, 4, 0, 0), rtol=1e-4, atol=1e-4)


def test_what_cannot_be_rounded_is_refused() -> None:
    model = tiny.build("llama_gqa")
    with pytest.raises(SinkscopeError, match=r"cache-k4v4 rounds values in groups of 32.*the 8 channels.*choose -g8"):
        probe(4, 4, 32).check(model)
    with pytest.raises(SinkscopeError, match=r"'deepseek_v3' caches neither but a latent vector"):
        probe(4, 4, 2).check(families.tiny("deepseek_v3"))
    with probe(4, 4, 8).entered(model), pytest.raises(RequestError, match="does not stack"), sinks_hidden(model, (0,)):
        pass


def test_caches_are_chosen_by_name() -> None:
    chosen = choose(["cache-k4v4-g32", "cache-k2v2-g64-sinks4-window128", "w8"])
    assert chosen.order == ["none", "cache-k4v4", "cache-k2v2-g64-sinks4-window128", "w8"]
    assert list(chosen.probes) == ["w8"]
    found = chosen.caches["cache-k2v2-g64-sinks4-window128"]
    assert found.rounding == parse("cache-k2v2-g64-sinks4-window128")
    assert found.granularity == (
        "K 2 bits per channel, V 2 bits per token, groups of 64, 4 first and 128 recent tokens exact"
    )
