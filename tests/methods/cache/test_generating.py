"""transformers' quantized cache, through which a model generates, against loops and against this project's rounding."""

from typing import Any

import families
import pytest
import tiny
import torch
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel, QuantizedCache

from sinkscope.errors import RequestError, SinkscopeError
from sinkscope.evaluation.generation import continue_greedily
from sinkscope.methods.cache.generating import GenerationCache
from sinkscope.methods.cache.rounding import rounded_keys, rounded_values
from sinkscope.methods.grammar import GeneratingCache, parse

PROMPTS = [[0, 70, 71, 72, 90, 31], [0, 90, 80, 70, 60, 50, 40, 30]]
FP8 = GenerationCache(GeneratingCache("fp8", 8))


def quanto(bits: int, group: int = 8, window: int = 4) -> GenerationCache:
    return GenerationCache(GeneratingCache("quanto", bits, group, window))


class Slow(DynamicCache):
    """Keeps all tokens exact, and hands attention what the quantized cache would; the prompt itself is exact."""

    def update(self, key_states: Tensor, value_states: Tensor, layer_idx: int, *args: Any, **kwargs: Any) -> Any:
        started = self.get_seq_length(layer_idx) > 0
        keys, values = super().update(key_states, value_states, layer_idx, *args, **kwargs)
        if not started:
            self.prompt = key_states.shape[2]
            return keys, values
        return self.e4m3(keys), self.e4m3(values)

    def e4m3(self, x: Tensor) -> Tensor:
        scale = x[:, :, : self.prompt].abs().max().item() / 448
        values = [torch.tensor(value / scale).to(torch.float8_e4m3fn).float().item() * scale
                  for value in x.flatten().tolist()]  # fmt: skip
        return torch.tensor(values).view_as(x)


def written(model: PreTrainedModel, prompt: list[int], count: int) -> list[int]:
    """Greedy tokens from the slow cache, one at a time."""
    cache, ids = Slow(), torch.tensor([prompt])
    found: list[int] = []
    for _ in range(count):
        with torch.no_grad():
            logits = model(input_ids=ids, past_key_values=cache, use_cache=True).logits[0, -1]
        found.append(int(logits.argmax()))
        ids = torch.tensor([found[-1:]])
    return found


@pytest.mark.parametrize("prompt", PROMPTS)
def test_generation_through_fp8_agrees_with_a_loop(prompt: list[int]) -> None:
    model, tokenizer = tiny.build("llama_gqa", initializer_range=0.8), tiny.tokenizer()
    model.generation_config.eos_token_id = -1
    expected = tokenizer.decode(written(model, prompt, 10), skip_special_tokens=True)
    assert continue_greedily(model, tokenizer, [prompt], 10, cache=FP8.options) == [expected]


@pytest.mark.parametrize("bits", [2, 4])
def test_what_quanto_rounds_agrees_with_values_and_not_with_keys(bits: int) -> None:
    """Until the window is full: what is rounded is the prompt, per token and by groups of channels."""
    pytest.importorskip("optimum.quanto")
    torch.manual_seed(bits)
    k, v = (torch.randn(1, 2, 16, 16) * torch.logspace(-1, 1, 16) for _ in range(2))
    new = torch.randn(2, 1, 2, 1, 16)
    cache = QuantizedCache(config=tiny.build("llama_gqa").config, **quanto(bits).options)
    exact = cache.update(k, v, 0)
    assert torch.equal(exact[0], k)
    keys, values = cache.update(new[0], new[1], 0)
    torch.testing.assert_close(values[:, :, :-1], rounded_values(v, bits, 8), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(keys[:, :, :-1], rounded_values(k, bits, 8), rtol=1e-5, atol=1e-6)
    assert torch.equal(keys[:, :, -1:], new[0])
    assert (keys[:, :, :-1] - rounded_keys(k, bits, 8, 0)).abs().max() > 0.1


def test_generation_through_quanto_is_another_models() -> None:
    """Of two bits, after the first token, which the exact prompt decides."""
    pytest.importorskip("optimum.quanto")
    model, tokenizer = tiny.build("llama_gqa", initializer_range=0.8), tiny.tokenizer()
    quanto(2).check(model)
    plain, coarse = (continue_greedily(model, tokenizer, PROMPTS[:1], 16, cache=cache)[0]
                     for cache in (None, quanto(2).options))  # fmt: skip
    assert plain[0] == coarse[0]
    assert plain != coarse


def test_what_cannot_be_generated_through_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SinkscopeError, match=r"quanto-cache-4bit rounds in groups of 64.* the 8 channels.* choose -g8"):
        quanto(4, 64, 128).check(tiny.build("llama_gqa"))
    with pytest.raises(RequestError, match=r"fp8-cache is no cache for this model: .*full attention layers"):
        FP8.check(families.tiny("gemma2"))
    monkeypatch.setattr("sinkscope.methods.cache.generating.find_spec", lambda _: None)
    with pytest.raises(SinkscopeError, match=r"needs optimum-quanto: pip install 'sinkscope\[quanto\]'"):
        quanto(4).refuse()
    FP8.refuse()  # transformers itself has it


def test_words_and_names() -> None:
    found = parse("quanto-cache-2bit-g32-window64")
    assert found == GeneratingCache("quanto", 2, 32, 64)
    assert GenerationCache(found).granularity.endswith("2 bits per token, groups of 32, up to 64 recent tokens exact")
    assert GenerationCache(found).options == {"backend": "quanto", "nbits": 2, "axis_key": 0, "axis_value": 0,
                                              "q_group_size": 32, "residual_length": 64}  # fmt: skip
    assert FP8.options == {"backend": "fp8"}
