from typing import Any

import pytest
import tiny
import torch
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM
from upstream import moved, require

HOME = "attention_implementation"
CACHED = "_can_set_attn_implementation_cached_value"

NOTEBOOK = """
from torch import nn
from transformers import LlamaForCausalLM

class Written(LlamaForCausalLM):
    pass

class OwnAttention(nn.Module):
    def forward(self, hidden_states, **kwargs):
        return hidden_states, None

class WithOwnAttention(LlamaForCausalLM):
    def __init__(self, config):
        super().__init__(config)
        for layer in self.model.layers:
            layer.self_attn = OwnAttention()
"""


def test_what_is_relied_on() -> None:
    base = "transformers.modeling_utils:PreTrainedModel"
    require(f"{base}._can_set_attn_implementation", HOME)
    require(f"{base}.set_attn_implementation", HOME, "self", "attn_implementation")
    config = require("transformers:LlamaConfig", HOME)(attn_implementation="eager")
    chosen = getattr(config, "_attn_implementation", None)
    assert chosen == "eager", moved("transformers", "a configuration has no _attn_implementation", HOME)


def test_an_implementation_is_read_switched_and_put_back() -> None:
    from sinkscope.compat.attention_implementation import implementation_of, implementations_of, switch_attention_

    model = tiny.build("llama_gqa")
    before = implementations_of(model)
    assert before == {"": "sdpa"}
    assert switch_attention_(model, "eager"), moved("transformers", "set_attn_implementation did not switch", HOME)
    assert implementation_of(model.config) == implementation_of(model.model.layers[0].self_attn.config) == "eager"
    assert switch_attention_(model, before)
    assert implementation_of(model.config) == "sdpa"


def _config() -> LlamaConfig:
    return LlamaConfig(
        vocab_size=64, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
        max_position_embeddings=64,
    )  # fmt: skip


def _written(kind: str) -> Any:
    """A class that was run from a string: its module has no file, as in a notebook."""
    names: dict[str, Any] = {}
    exec(compile(NOTEBOOK, "<cell>", "exec"), names)  # noqa: S102
    return names[kind]


@pytest.mark.parametrize("parent_was_asked", [False, True])
@pytest.mark.parametrize("kind", ["Written", "WithOwnAttention"])
def test_a_class_without_a_source_file_is_judged_by_its_attention(
    kind: str, parent_was_asked: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answer is that of the class itself, whatever was asked of its parent before."""
    from sinkscope.compat.attention_implementation import implementation_of, switch_attention_

    monkeypatch.delattr(LlamaForCausalLM, CACHED, raising=False)
    if parent_was_asked:
        LlamaForCausalLM(_config()).set_attn_implementation("eager")
        assert LlamaForCausalLM.__dict__[CACHED], moved("transformers", "its answer is not cached any more", HOME)
    model = _written(kind)(_config())
    uses_the_interface = kind == "Written"
    assert switch_attention_(model, "eager") == uses_the_interface
    assert implementation_of(model.config) == ("eager" if uses_the_interface else "sdpa")
    assert CACHED not in type(model).__dict__  # what was asked leaves nothing behind


def test_the_interface_is_looked_up_under_the_name_that_is_searched_for() -> None:
    """Attention modules of transformers, known to use the interface, are told as such by their compiled code."""
    from sinkscope.compat.attention_implementation import _uses_the_interface

    for name in ("llama_gqa", "mistral_gqa", "qwen2_gqa", "qwen3_gqa"):
        found = _uses_the_interface(tiny.build(name))
        assert found, moved("transformers", "attention does not name ALL_ATTENTION_FUNCTIONS in forward", HOME)


def test_attention_around_attention_is_not_asked() -> None:
    from sinkscope.compat.attention_implementation import _uses_the_interface

    class AroundAttention(nn.Module):
        def __init__(self, inner: nn.Module) -> None:
            super().__init__()
            self.inner = inner

        def forward(self, *args: Any, **kwargs: Any) -> Any:
            return self.inner(*args, **kwargs)

    model = tiny.build("llama_gqa")
    for layer in model.model.layers:
        layer.self_attn = AroundAttention(layer.self_attn)
    assert _uses_the_interface(model)
    with torch.no_grad():
        model(input_ids=torch.arange(8)[None])
