"""Tiny random mixture-of-experts models, made like those of `reference.models`."""

from collections.abc import Callable
from typing import Any

from transformers import (
    MixtralConfig,
    MixtralForCausalLM,
    OlmoeConfig,
    OlmoeForCausalLM,
    PreTrainedModel,
    Qwen2MoeConfig,
    Qwen2MoeForCausalLM,
    Qwen3MoeConfig,
    Qwen3MoeForCausalLM,
)

_SHAPE: dict[str, Any] = {
    "vocab_size": 64,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 1024,
    "tie_word_embeddings": False,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}
_MOE: dict[str, Any] = {"num_experts": 6, "num_experts_per_tok": 2, "moe_intermediate_size": 24}

MOE: dict[str, Callable[[], PreTrainedModel]] = {
    "mixtral": lambda: MixtralForCausalLM(MixtralConfig(**_SHAPE, num_local_experts=5, num_experts_per_tok=2)),
    "olmoe": lambda: OlmoeForCausalLM(OlmoeConfig(**{**_SHAPE, "intermediate_size": 24}, num_experts=6,
                                                  num_experts_per_tok=3)),
    "qwen2_moe": lambda: Qwen2MoeForCausalLM(
        Qwen2MoeConfig(**_SHAPE, **_MOE, shared_expert_intermediate_size=20, mlp_only_layers=[0])
    ),
    "qwen3_moe": lambda: Qwen3MoeForCausalLM(Qwen3MoeConfig(**_SHAPE, **_MOE, head_dim=16, norm_topk_prob=True)),
}  # fmt: skip
