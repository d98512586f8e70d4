from typing import Any

import torch
from torch import Tensor
from transformers import MixtralConfig, MixtralForCausalLM
from upstream import moved, require

HOME = "experts_interface"


def test_what_is_relied_on() -> None:
    require("transformers.integrations.moe:ALL_EXPERTS_FUNCTIONS.register", HOME)
    config = MixtralConfig(
        vocab_size=64, hidden_size=16, intermediate_size=24, num_hidden_layers=1, num_attention_heads=2,
        num_key_value_heads=2, num_local_experts=4,
    )  # fmt: skip
    model = MixtralForCausalLM(config).eval()
    module: Any = model.model.layers[0].mlp.experts
    for name in ("_is_expert_parallel", "_apply_gate", "has_gate", "has_bias", "is_transposed", "has_post_expert_norm"):
        assert hasattr(module, name), moved("transformers", f"an experts module has no {name}", HOME)
    for name in ("gate_up_proj", "down_proj", "act_fn", "config"):
        assert hasattr(module, name), moved("transformers", f"an experts module has no {name}", HOME)
    assert hasattr(module.config, "_experts_implementation_internal"), moved(
        "transformers", "a configuration has no _experts_implementation_internal", HOME
    )


def test_a_registered_function_computes_the_experts_where_it_is_chosen() -> None:
    from sinkscope.compat.experts_interface import (
        activation_of,
        choose_experts_,
        experts_implementation,
        is_expert_parallel,
        register_experts,
        uses_experts_interface,
    )

    config = MixtralConfig(
        vocab_size=64, hidden_size=16, intermediate_size=24, num_hidden_layers=1, num_attention_heads=2,
        num_key_value_heads=2, num_local_experts=4,
    )  # fmt: skip
    model = MixtralForCausalLM(config).eval()
    module: Any = model.model.layers[0].mlp.experts
    assert uses_experts_interface(module)
    assert not uses_experts_interface(model.lm_head)
    assert not is_expert_parallel(module)
    assert activation_of(module)(torch.ones(3, 48)).shape == (3, 24)
    seen: list[tuple[torch.Size, ...]] = []

    def nothing(_module: Any, hidden_states: Tensor, chosen: Tensor, weights: Tensor) -> Tensor:
        seen.append((hidden_states.shape, chosen.shape, weights.shape))
        return torch.zeros_like(hidden_states)

    register_experts("compat_nothing", nothing)
    before = experts_implementation(module.config)
    choose_experts_(module.config, "compat_nothing")
    with torch.no_grad():
        model(input_ids=torch.arange(5)[None])
        choose_experts_(module.config, before)
        model(input_ids=torch.arange(5)[None])
    expected = [(torch.Size([5, 16]), torch.Size([5, 2]), torch.Size([5, 2]))]
    assert seen == expected, moved("transformers", "a chosen experts function is not called as before", HOME)
