"""A tiny random model for every row of `sinkscope.models.families`, and for every case that a row has.

Freshly initialized weights give almost uniform attention and gains of 1. Here queries and keys are scaled up, which
makes heads that prefer some keys, and gains are unequal, so that a forgotten gamma shows.

    model = tiny("gemma2")                    # float32, eval mode, the same weights each time
    folder = saved("gemma2", tmp_path)        # with the byte-level tokenizer of tests/tiny.py
"""

from pathlib import Path
from typing import Any, NamedTuple

import tiny as tiny_models
import torch
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

from sinkscope.models.families import FAMILIES

_SHAPE: dict[str, Any] = {
    "vocab_size": 258,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 1024,
    "tie_word_embeddings": False,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "pad_token_id": 2,
}
_WINDOWS = {"sliding_window": 6, "layer_types": ["sliding_attention", "full_attention", "sliding_attention"]}
_YARN = {
    "rope_type": "yarn", "rope_theta": 1e4, "factor": 2.0, "original_max_position_embeddings": 512,
    "beta_fast": 32.0, "beta_slow": 1.0, "mscale": 1.0, "mscale_all_dim": 1.0, "llama_4_scaling_beta": 0.5,
}  # fmt: skip


class Tiny(NamedTuple):
    """A row's name, and the configuration values that a tiny model has beside `_SHAPE`."""

    model_type: str
    changes: dict[str, Any]


TINY: dict[str, Tiny] = {
    "llama_mha": Tiny("llama", {"num_key_value_heads": 4}),
    "llama_gqa": Tiny("llama", {}),
    "mistral_window": Tiny("mistral", {"sliding_window": 6}),
    "ministral": Tiny("ministral", {"head_dim": 8, **_WINDOWS}),
    "ministral3": Tiny("ministral3", {"head_dim": 16, "rope_parameters": _YARN, "sliding_window": None}),
    "qwen2": Tiny("qwen2", {}),
    "qwen3": Tiny("qwen3", {"head_dim": 16}),
    "gemma": Tiny("gemma", {"head_dim": 16, "num_key_value_heads": 1}),
    "gemma2": Tiny("gemma2", {"head_dim": 16, "query_pre_attn_scalar": 16, "attn_logit_softcapping": 3.0, **_WINDOWS}),
    "gemma3_text": Tiny("gemma3_text", {"head_dim": 16, "query_pre_attn_scalar": 16, **_WINDOWS}),
    "phi3": Tiny("phi3", {}),
    "olmo": Tiny("olmo", {}),
    "olmo_clip": Tiny("olmo", {"clip_qkv": 1.5}),
    "olmo2": Tiny("olmo2", {}),
    "olmo3": Tiny("olmo3", _WINDOWS),
    "glm": Tiny("glm", {"head_dim": 16}),
    "glm4": Tiny("glm4", {"head_dim": 16}),
    "granite": Tiny(
        "granite",
        {"residual_multiplier": 0.4, "embedding_multiplier": 2.0, "attention_multiplier": 0.3, "logits_scaling": 2.0},
    ),
    "smollm3": Tiny("smollm3", {"no_rope_layers": [1, 0, 1]}),
    "stablelm": Tiny("stablelm", {"use_qkv_bias": True}),
    "stablelm_parallel": Tiny("stablelm", {"use_parallel_residual": True, "qk_layernorm": True}),
    "seed_oss": Tiny("seed_oss", {"head_dim": 16}),
    "exaone4": Tiny("exaone4", _WINDOWS),
    "nemotron": Tiny("nemotron", {"head_dim": 16, "initializer_range": 0.02}),
    "starcoder2": Tiny("starcoder2", {"sliding_window": 6}),
    "phi": Tiny("phi", {"qk_layernorm": True}),
    "cohere": Tiny("cohere", {"use_qk_norm": True}),
    "cohere2": Tiny("cohere2", _WINDOWS),
    "gpt_neox": Tiny("gpt_neox", {}),
    "gpt_neox_sequential": Tiny("gpt_neox", {"use_parallel_residual": False}),
    "falcon_sequential": Tiny("falcon", {"parallel_attn": False, "multi_query": False, "bias": True}),
    "falcon_one_norm": Tiny("falcon", {"parallel_attn": True, "multi_query": True}),
    "falcon_new_one_norm": Tiny(
        "falcon", {"new_decoder_architecture": True, "num_kv_heads": 2, "num_ln_in_parallel_attn": 1}
    ),
    "falcon_two_norms": Tiny("falcon", {"new_decoder_architecture": True, "num_kv_heads": 2}),
    "gpt2": Tiny("gpt2", {"scale_attn_by_inverse_layer_idx": True}),
    "opt": Tiny("opt", {"ffn_dim": 48, "word_embed_proj_dim": 32}),
    "opt_stream_norm": Tiny("opt", {"ffn_dim": 48, "word_embed_proj_dim": 16, "do_layer_norm_before": False}),
}
_MOE: dict[str, Any] = {"num_experts": 6, "num_experts_per_tok": 2, "moe_intermediate_size": 24}
TINY |= {
    "mixtral": Tiny("mixtral", {"num_local_experts": 5, "num_experts_per_tok": 2}),
    "olmoe": Tiny("olmoe", {"intermediate_size": 24, "num_experts": 6, "num_experts_per_tok": 3}),
    "qwen2_moe": Tiny("qwen2_moe", {**_MOE, "shared_expert_intermediate_size": 20, "mlp_only_layers": [0]}),
    "qwen3_moe": Tiny("qwen3_moe", {**_MOE, "head_dim": 16, "norm_topk_prob": True}),
}
_LATENT: dict[str, Any] = {
    "num_key_value_heads": 4, "kv_lora_rank": 16, "qk_nope_head_dim": 8, "qk_rope_head_dim": 4, "v_head_dim": 6,
    "n_routed_experts": 8, "n_shared_experts": 2, "num_experts_per_tok": 3, "moe_intermediate_size": 12,
    "n_group": 4, "topk_group": 2, "first_k_dense_replace": 1,
}  # fmt: skip
TINY |= {
    "deepseek_v2": Tiny("deepseek_v2", {**_LATENT, "q_lora_rank": None}),
    "deepseek_v2_groups": Tiny("deepseek_v2", {**_LATENT, "q_lora_rank": 12, "topk_method": "group_limited_greedy"}),
    "deepseek_v3": Tiny("deepseek_v3", {**_LATENT, "q_lora_rank": 12}),
    "glm4_moe": Tiny(
        "glm4_moe",
        {"head_dim": 16, "n_routed_experts": 8, "n_shared_experts": 2, "num_experts_per_tok": 3, "use_qk_norm": True,
         "moe_intermediate_size": 12, "n_group": 4, "topk_group": 2, "first_k_dense_replace": 1},
    ),
    "gpt_oss": Tiny(
        "gpt_oss",
        {"head_dim": 16, "intermediate_size": 24, "num_local_experts": 6, "num_experts_per_tok": 2,
         "rope_parameters": {"rope_type": "default", "rope_theta": 1e4}, **_WINDOWS},
    ),
    "llama4_text": Tiny(
        "llama4_text",
        {"head_dim": 8, "intermediate_size": 24, "intermediate_size_mlp": 40, "num_local_experts": 5,
         "num_experts_per_tok": 2, "moe_layers": [0, 2], "no_rope_layers": [1, 0, 1], "attention_chunk_size": 7,
         "floor_scale": 4},
    ),
}  # fmt: skip
EXPERTS = [name for name, row in TINY.items() if FAMILIES[row.model_type].experts is not None]
LATENT = ("q_b_proj", "kv_a_proj_with_mqa", "kv_b_proj")
FUSED = ("qkv_proj", "query_key_value", "c_attn")


def tiny(name: str, seed: int = 0, *, sharpness: float = 12.0, **changes: Any) -> PreTrainedModel:
    """A random model in float32 and eval mode.

    Args:
        name: a key of `TINY`.
        seed: of the weights.
        sharpness: factor on the query and key projections (on the gains of the q/k norms where there are any).
        changes: configuration values that replace the tiny ones.
    """
    row = TINY[name]
    config = AutoConfig.for_model(row.model_type, **{**_SHAPE, **row.changes, **changes})
    torch.manual_seed(seed)
    model: PreTrainedModel = AutoModelForCausalLM.from_config(config).eval()
    _roughen_(model, sharpness)
    return model


def saved(name: str, folder: Path, **changes: Any) -> Path:
    """Saves a tiny model and the tokenizer of tests/tiny.py into one folder."""
    return tiny_models.save(tiny(name, **changes), folder)


@torch.no_grad()
def _roughen_(model: PreTrainedModel, sharpness: float) -> None:
    stores_offset = model.config.model_type.startswith(("gemma", "nemotron"))
    for name, parameter in model.named_parameters():
        *_, owner, kind = name.split(".")
        if kind == "bias":
            parameter.normal_(0, 0.1)
        elif any(part in name for part in ("q_norm", "k_norm", "q_layernorm", "k_layernorm")):
            parameter.add_(0.5 + 0.1 * torch.randn_like(parameter))
        elif parameter.dim() == 1:
            parameter.copy_(0.3 * torch.randn_like(parameter) + (0 if stores_offset else 1))
        elif owner in ("q_proj", "k_proj", *LATENT, *FUSED):
            parameter.mul_(sharpness)
        else:
            parameter.mul_(4)
