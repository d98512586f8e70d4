"""YaRN in memory is what a checkpoint with YaRN loads as, and what cannot be extended is refused."""

import math
from pathlib import Path

import pytest
import tiny
import torch
from transformers import AutoModelForCausalLM, GPT2Config, GPT2LMHeadModel

from sinkscope.errors import SinkscopeError
from sinkscope.evaluation.yarn import extend_
from sinkscope.loading.load import load_model

IDS = torch.randint(2, 258, (1, 4 * tiny.CONTEXT), generator=torch.Generator().manual_seed(0))


def logits(model: torch.nn.Module, ids: torch.Tensor = IDS) -> torch.Tensor:
    with torch.no_grad():
        return model(input_ids=ids, use_cache=False).logits


@pytest.mark.parametrize("name", tiny.MODELS)
def test_is_what_a_checkpoint_with_yarn_loads_as(name: str, tmp_path: Path) -> None:
    model = tiny.build(name)
    model.save_pretrained(tmp_path)
    plain = logits(model, IDS[:, : tiny.CONTEXT])
    assert extend_(model, 4) is model
    theta = model.config.rope_parameters["rope_theta"]
    yarn = {"rope_type": "yarn", "rope_theta": theta, "factor": 4.0, "original_max_position_embeddings": tiny.CONTEXT}
    stored = AutoModelForCausalLM.from_pretrained(
        tmp_path, rope_parameters=yarn, max_position_embeddings=4 * tiny.CONTEXT
    )
    assert torch.equal(logits(model), logits(stored))
    assert model.config.max_position_embeddings == 4 * tiny.CONTEXT
    assert (logits(model, IDS[:, : tiny.CONTEXT]) - plain).abs().max() > 1e-4


def test_frequencies_are_those_of_the_paper() -> None:
    """Peng et al.: frequencies that turn less than once in the context are divided, those of over 32 turns kept."""
    factor, context = 4.0, 2048
    rotary = {"rope_type": "default", "rope_theta": 10000.0}
    model = tiny.build("llama_mha", head_dim=32, max_position_embeddings=context, rope_parameters=rotary)
    before = model.model.rotary_emb.inv_freq.clone()
    after = extend_(model, factor).model.rotary_emb
    ratio, rotations = after.inv_freq / before, context * before / (2 * math.pi)
    slow, fast = rotations < 1 / 2, rotations > 2 * 32  # the ramp's ends are rounded outwards to whole dimensions
    assert slow.any()
    assert fast.any()
    torch.testing.assert_close(ratio[slow], torch.full_like(ratio[slow], 1 / factor))
    torch.testing.assert_close(ratio[fast], torch.ones_like(ratio[fast]))
    assert ((ratio >= 1 / factor - 1e-6) & (ratio <= 1 + 1e-6)).all()
    assert after.attention_scaling == pytest.approx(0.1 * math.log(factor) + 1)


def test_keeps_v_scale() -> None:
    plain, valved = load_model("demo").model, load_model("demo-vscale").model
    assert valved.config._attn_implementation.startswith("sinkscope_vscale")
    before = logits(valved, IDS[:, :64])
    extend_(valved, 2)
    assert valved.config._attn_implementation.startswith("sinkscope_vscale")
    after = logits(valved, IDS[:, :64])
    assert not torch.equal(before, after)
    assert logits(valved, IDS).isfinite().all()
    assert plain.config.max_position_embeddings == 256


def test_what_cannot_be_extended() -> None:
    absolute = GPT2LMHeadModel(GPT2Config(vocab_size=10, n_embd=8, n_layer=1, n_head=1))
    with pytest.raises(SinkscopeError, match="a 'gpt2' has none"):
        extend_(absolute, 2)
    model = extend_(tiny.build("llama_mha"), 2)
    with pytest.raises(SinkscopeError, match=r"rescaled already \(yarn\)"):
        extend_(model, 2)
    with pytest.raises(SinkscopeError, match="above 1"):
        extend_(tiny.build("llama_mha"), 1)
    varied = tiny.build("llama_mha")
    varied.config.rope_parameters = {"full_attention": {"rope_type": "default"}}
    with pytest.raises(SinkscopeError, match="differ between layers"):
        extend_(varied, 2)
