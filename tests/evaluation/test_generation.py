"""Greedy continuation with the cache is the same as a loop without one."""

import pytest
import tiny
import torch
from transformers import GenerationConfig, PreTrainedModel

from sinkscope.errors import SinkscopeError
from sinkscope.evaluation.generation import continue_greedily
from sinkscope.loading.load import load_model

PROMPTS = [[0, 70, 71, 72], [0, 90, 80, 70, 60, 50, 40, 30]]


def slow(model: PreTrainedModel, prompt: list[int], count: int, end: int) -> list[int]:
    written: list[int] = []
    while len(written) < count and (not written or written[-1] != end):
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([prompt + written]), use_cache=False).logits[0, -1]
        written.append(int(logits.argmax()))
    return written


@pytest.mark.parametrize("name", ["demo", "demo-vscale"])
def test_agrees_with_a_loop_without_cache_or_padding(name: str) -> None:
    loaded = load_model(name)
    model, tokenizer = loaded.model, loaded.tokenizer
    expected = [tokenizer.decode(slow(model, prompt, 12, 1), skip_special_tokens=True) for prompt in PROMPTS]
    assert continue_greedily(model, tokenizer, PROMPTS, 12) == expected
    assert [continue_greedily(model, tokenizer, [prompt], 12)[0] for prompt in PROMPTS] == expected


def test_settings_of_the_checkpoint_are_left_out_and_kept() -> None:
    model, tokenizer = tiny.build("llama_gqa"), tiny.tokenizer()
    expected = continue_greedily(model, tokenizer, PROMPTS, 8)
    own = GenerationConfig(do_sample=True, temperature=5.0, repetition_penalty=9.0, min_new_tokens=3, eos_token_id=1)
    model.generation_config = own
    assert continue_greedily(model, tokenizer, PROMPTS, 8) == expected
    assert model.generation_config is own


def test_stops_at_the_end_token() -> None:
    model, tokenizer = tiny.build("llama_gqa"), tiny.tokenizer()
    full = slow(model, PROMPTS[0], 8, end=-1)
    model.generation_config = GenerationConfig(eos_token_id=[full[3], 1])
    written = continue_greedily(model, tokenizer, PROMPTS[:1], 8)[0]
    end = full.index(full[3]) + 1
    assert written == tokenizer.decode(full[:end], skip_special_tokens=True)


def test_logits_that_are_not_finite_are_told() -> None:
    model = tiny.build("llama_gqa")
    with torch.no_grad():
        model.lm_head.weight[7] = float("nan")
    with pytest.raises(SinkscopeError, match="non-finite logits"):
        continue_greedily(model, tiny.tokenizer(), PROMPTS, 2)
