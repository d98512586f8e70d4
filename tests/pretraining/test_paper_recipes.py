"""The paper's recipes have the shapes and settings that arXiv:2603.17771 gives, and the twins change V-scale alone."""

from dataclasses import replace
from pathlib import Path

import pytest
import tiny
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from sinkscope.pretraining.shipped_recipes import find_recipe
from sinkscope.training.recipe import Recipe, load_recipe

GPT2_VOCABULARY = 50257
# recipe: parameters, steps, tokens of text, peak rate
PAPER = {
    "paper-0.1b": (102.9e6, 20_000, 10.49e9, 2e-3),
    "paper-0.3b": (304e6, 20_000, 20.97e9, 1e-3),
    "paper-1b": (1.04e9, 25_000, 26.21e9, 1e-3),
}


def recipe(name: str) -> Recipe:
    return load_recipe(find_recipe(name))


@pytest.mark.parametrize("name", PAPER)
def test_has_the_size_and_the_budget_of_the_paper(name: str) -> None:
    parameters, steps, tokens, rate = PAPER[name]
    found = recipe(name)
    with torch.device("meta"):
        model = LlamaForCausalLM(LlamaConfig(**vars(found.model), vocab_size=GPT2_VOCABULARY))
    assert model.num_parameters() == pytest.approx(parameters, rel=0.005)
    assert (found.schedule.steps, found.schedule.warmup, found.schedule.kind, found.schedule.final) == (
        steps,
        1000,
        "cosine",
        0.1,
    )
    optimizer = found.optimizer
    assert optimizer.batch_sequences == 512
    assert steps * 512 * found.data.tokens == pytest.approx(tokens, rel=0.001)
    assert (optimizer.lr, optimizer.beta1, optimizer.beta2, optimizer.eps) == (rate, 0.9, 0.95, 1e-8)
    assert (optimizer.weight_decay, optimizer.clip) == (0.1, 1.0)
    assert (found.data.source, found.data.config, found.data.bos) == ("allenai/c4", "en", "never")
    assert (found.model.rope_theta, found.model.rms_norm_eps, found.model.tie_word_embeddings) == (1e4, 1e-5, False)
    assert found.tokenizer.name == "openai-community/gpt2"


@pytest.mark.parametrize("base", [*PAPER, "demo", "mini", "10m"])
@pytest.mark.parametrize("variant", ["vscale", "backward-only"])
def test_twins_change_nothing_but_vscale(base: str, variant: str) -> None:
    plain, twin = recipe(base), recipe(f"{base}-{variant}")
    assert plain.vscale.variant == "none"
    assert twin.vscale.variant == {"vscale": "learned"}.get(variant, variant)
    assert replace(twin, name=plain.name, vscale=plain.vscale) == plain


def test_a_tokenizer_is_named_or_trained_and_not_both(tmp_path: Path) -> None:
    from sinkscope.errors import SinkscopeError

    path = tmp_path / "r.toml"
    path.write_text(tiny.RECIPE.replace("vocab_size = 270", ""))
    with pytest.raises(SinkscopeError, match=r"\[tokenizer\]"):
        load_recipe(path)
    with pytest.raises(SinkscopeError, match=r"\[tokenizer\]"):
        load_recipe(find_recipe("demo"), {"tokenizer.name": "gpt2"})
