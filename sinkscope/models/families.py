"""The architectures that sinkscope knows, one row each.

Meaning is mapped, not names: `post_attention_layernorm` is the MLP branch's pre-norm in Llama and normalises the
attention branch's output in Gemma 2, so an architecture without a row is an error that lists the known ones, never a
guess. `sinkscope.models.family` says what a row may say; docs/architectures.md how to add one.
"""

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from sinkscope.errors import RequestError
from sinkscope.models.family import Case, Family, Feature, Norm
from sinkscope.models.routing import Experts, scores_of_all, weighted_before

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["FAMILIES", "Case", "Family", "Feature", "Norm", "family_of"]

_GEMMA = Norm(gain_offset=1.0, epsilon="eps")
_LAYER = Norm(centered=True, epsilon="eps")

# A norm after each branch too, under the names that Gemma 2 gave them.
_GEMMA_SANDWICH: dict[str, Any] = {
    "attention_post_norm": "post_attention_layernorm",
    "mlp_norm": "pre_feedforward_layernorm",
    "mlp_post_norm": "post_feedforward_layernorm",
    "norm": _GEMMA,
}
_OLMO_POST: dict[str, Any] = {
    "attention_norm": None,
    "attention_post_norm": "post_attention_layernorm",
    "mlp_norm": None,
    "mlp_post_norm": "post_feedforward_layernorm",
}

_LATENT: dict[str, Any] = {
    "head_dim": "v_head_dim",
    "value_input": "kv_lora_rank",
    "features": (Feature.EXPERTS, Feature.LATENT),
}

_ROWS = (
    Family("llama", notes="Llama 2 and 3, and models of that shape"),
    Family("mistral", features=(Feature.SLIDING,)),
    Family("ministral", features=(Feature.SLIDING,)),
    Family("ministral3", features=(Feature.SLIDING,), notes="queries scaled by position"),
    Family("qwen2", features=(Feature.SLIDING,), notes="Qwen 2 and 2.5"),
    Family("qwen3", features=(Feature.QK_NORM, Feature.SLIDING)),
    Family("gemma", norm=_GEMMA),
    Family("gemma2", features=(Feature.SOFTCAP, Feature.SLIDING), **_GEMMA_SANDWICH),
    Family("gemma3_text", features=(Feature.QK_NORM, Feature.SLIDING), **_GEMMA_SANDWICH),
    Family(
        "phi3",
        attention_dropout="resid_attn_dropout",
        mlp_dropout="resid_mlp_dropout",
        features=(Feature.FUSED_QKV, Feature.FUSED_GATE, Feature.SLIDING),
        notes="Phi-3 and Phi-4",
    ),
    Family("olmo", norm=Norm(centered=True, epsilon=1e-5), notes="norms without weights"),
    Family("olmo2", features=(Feature.QK_NORM,), **_OLMO_POST),
    Family("olmo3", features=(Feature.QK_NORM, Feature.SLIDING), **_OLMO_POST),
    Family("glm", features=(Feature.FUSED_GATE,)),
    Family(
        "glm4",
        attention_post_norm="post_self_attn_layernorm",
        mlp_post_norm="post_mlp_layernorm",
        features=(Feature.FUSED_GATE,),
    ),
    Family("granite", residual_multiplier="residual_multiplier", notes="branch outputs times residual_multiplier"),
    Family("smollm3", features=(Feature.NOPE, Feature.SLIDING)),
    Family(
        "stablelm",
        norm=_LAYER,
        mlp_dropout="dropout",
        features=(Feature.QK_NORM,),
        cases=(Case({"use_parallel_residual": True}, {"parallel": True, "mlp_norm": "input_layernorm"}),),
    ),
    Family("seed_oss"),
    Family("exaone4", features=(Feature.QK_NORM, Feature.SLIDING, Feature.NOPE), **_OLMO_POST),
    Family("nemotron", norm=Norm(centered=True, gain_offset=1.0, epsilon="eps")),
    Family("starcoder2", norm=_LAYER, down="mlp.c_proj", features=(Feature.SLIDING,)),
    Family(
        "phi",
        final_norm="model.final_layernorm",
        mlp_norm="input_layernorm",
        down="mlp.fc2",
        parallel=True,
        norm=_LAYER,
        loose_dropouts=("resid_pdrop",),
        features=(Feature.QK_NORM,),
        notes="Phi-1, 1.5 and 2",
    ),
    Family(
        "cohere",
        mlp_norm="input_layernorm",
        parallel=True,
        norm=Norm(centered=True),
        features=(Feature.QK_NORM,),
        notes="Command R",
    ),
    Family(
        "cohere2",
        mlp_norm="input_layernorm",
        parallel=True,
        norm=Norm(centered=True),
        features=(Feature.SLIDING, Feature.NOPE),
        notes="Command R7B and A",
    ),
    Family(
        "gpt_neox",
        layers="gpt_neox.layers",
        final_norm="gpt_neox.final_layer_norm",
        attention="attention",
        attention_dropout="post_attention_dropout",
        mlp_dropout="post_mlp_dropout",
        down="mlp.dense_4h_to_h",
        norm=_LAYER,
        kv_heads="num_attention_heads",
        features=(Feature.FUSED_QKV,),
        notes="GPT-NeoX and Pythia",
        cases=(Case({"use_parallel_residual": True}, {"parallel": True}),),
    ),
    Family(
        "falcon",
        layers="transformer.h",
        final_norm="transformer.ln_f",
        attention="self_attention",
        down="mlp.dense_4h_to_h",
        norm=_LAYER,
        kv_heads="num_kv_heads",
        loose_dropouts=("hidden_dropout", "attention_dropout"),
        isolates=False,
        intercepted=True,
        features=(Feature.FUSED_QKV, Feature.MULTI_QUERY),
        notes="both decoder architectures",
        cases=(
            Case({"alibi": True}, refused="ALiBi adds a bias to attention scores"),
            Case({"multi_query": True}, {"kv_heads": 1}),
            Case({"parallel_attn": True}, {"parallel": True, "mlp_norm": "input_layernorm"}),
            Case(
                {"new_decoder_architecture": True},
                {"parallel": True, "attention_norm": "ln_attn", "mlp_norm": "ln_mlp", "kv_heads": "num_kv_heads"},
            ),
            Case(
                {"new_decoder_architecture": True, "num_ln_in_parallel_attn": 1},
                {"attention_norm": "input_layernorm", "mlp_norm": "input_layernorm"},
            ),
        ),
    ),
    Family(
        "gpt2",
        layers="transformer.h",
        final_norm="transformer.ln_f",
        attention_norm="ln_1",
        attention="attn",
        mlp_norm="ln_2",
        down="mlp.c_proj",
        norm=_LAYER,
        kv_heads="num_attention_heads",
        features=(Feature.FUSED_QKV, Feature.LEARNED_POSITIONS),
        cases=(Case({"add_cross_attention": True}, refused="a third branch attends to an encoder"),),
    ),
    Family(
        "opt",
        layers="model.decoder.layers",
        final_norm="model.decoder.final_layer_norm",
        projection="model.decoder.project_out",
        attention_norm="self_attn_layer_norm",
        mlp_norm="final_layer_norm",
        mlp_in="fc1",
        mlp="fc2",
        down="fc2",
        norm=_LAYER,
        kv_heads="num_attention_heads",
        initializer="init_std",
        loose_dropouts=("dropout",),
        isolates=False,
        features=(Feature.LEARNED_POSITIONS,),
        cases=(
            Case({"_remove_final_layer_norm": True}, {"final_norm": None}),
            Case(
                {"do_layer_norm_before": False},
                {"attention_norm": None, "mlp_norm": None, "final_norm": None, "stream_normed": True},
            ),
        ),
    ),
)

_MOE_ROWS = (
    Family("mixtral", experts=Experts(), features=(Feature.EXPERTS, Feature.SLIDING)),
    Family("olmoe", experts=Experts(), features=(Feature.EXPERTS, Feature.QK_NORM)),
    Family(
        "qwen2_moe",
        experts=Experts(shared="mlp.shared_expert.down_proj"),
        features=(Feature.EXPERTS, Feature.SLIDING),
    ),
    Family("qwen3_moe", experts=Experts(), features=(Feature.EXPERTS, Feature.QK_NORM, Feature.SLIDING)),
    Family(
        "deepseek_v2",
        experts=Experts(shared="mlp.shared_experts.down_proj"),
        notes="values of a head are kv_b_proj's; the first layers may be dense",
        **_LATENT,
    ),
    Family(
        "deepseek_v3",
        experts=Experts(shared="mlp.shared_experts.down_proj", scoring="sigmoid"),
        notes="as DeepSeek-V2",
        **_LATENT,
    ),
    Family(
        "glm4_moe",
        experts=Experts(shared="mlp.shared_experts.down_proj", scoring="sigmoid"),
        features=(Feature.EXPERTS, Feature.QK_NORM),
        notes="GLM-4.5 to 4.7; the first layers may be dense, q/k norms where the configuration says so",
    ),
    Family(
        "gpt_oss",
        experts=Experts(router="mlp.router"),
        isolates=False,
        features=(Feature.EXPERTS, Feature.SINKS, Feature.SLIDING),
    ),
    Family(
        "llama4_text",
        mlp="feed_forward",
        down="feed_forward.down_proj",
        norm=Norm(epsilon="eps"),
        experts=Experts(
            module="feed_forward.experts",
            router="feed_forward.router",
            shared="feed_forward.shared_expert.down_proj",
            scoring="sigmoid",
            read=scores_of_all,
            rerun=weighted_before,
        ),
        isolates=False,
        features=(Feature.EXPERTS, Feature.QK_NORM, Feature.CHUNKED, Feature.NOPE),
        notes="experts get each token times its router weight; queries of layers without rotary embedding grow with "
        "position",
    ),
)

_VISION_ROWS = (
    Family(
        "qwen2_5_vl",
        layers="model.language_model.layers",
        reader="model",
        final_norm="model.language_model.norm",
        images=("image_token_id", "video_token_id"),
        isolates=False,
        features=(Feature.IMAGES, Feature.SLIDING),
        notes="the text tower of Qwen2.5-VL; image embeddings stand among its tokens",
    ),
)

FAMILIES = {row.model_type: row for row in (*_ROWS, *_MOE_ROWS, *_VISION_ROWS)}


def family_of(model: "PreTrainedModel") -> Family:
    """The row of a model, as it is for the model's configuration.

    Raises:
        SinkscopeError: for an unknown architecture, the message lists the known ones; for a configuration of a known
            one that is not supported.
    """
    model_type = model.config.model_type
    check_multimodal(model.config)
    if model_type not in FAMILIES:
        raise RequestError(f"architecture '{model_type}' is not supported; known: {', '.join(sorted(FAMILIES))}")
    return FAMILIES[model_type].resolved(model.config)


def check_multimodal(config: Any) -> None:
    """Refuses models with towers for images or sound that have no row.

    Args:
        config: the configuration, as an object or a parsed config.json.

    Raises:
        SinkscopeError: for such a model, naming it and those whose text tower is measured.
    """
    get: Any = config.get if isinstance(config, Mapping) else partial(getattr, config)
    model_type = get("model_type", None)
    if model_type in FAMILIES or not any(get(tower, None) for tower in ("vision_config", "audio_config")):
        return
    measured = ", ".join(f"'{row.model_type}'" for row in FAMILIES.values() if row.images)
    raise RequestError(
        f"'{model_type}' reads more than text, and of such models only the text tower of {measured} is measured"
    )
