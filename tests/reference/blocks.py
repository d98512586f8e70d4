"""Every decoder layer anew, as its defining equations say, by the class that transformers gives it.

A function per structure, and a line per class that names its modules. Nothing is read from `sinkscope.models`: a row
there that maps a site to the wrong module disagrees with what is kept here, and a line here that is wrong changes the
model's logits, which `reference.eager.measure` compares with those of transformers' own layers.

`keep(site, tensor)` notes a tensor with its gradient; `attend(x)` is the attention module's output for the normed x.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

Keep = Callable[[str, Tensor], Tensor]
Attend = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Block:
    """A decoder layer by structure.

    Attributes:
        run: computes it.
        attention: path of its attention module.
        down: path of its down projection.
        norms: path of the norm of each branch that has one.
        streams: of each such branch the stream before and after it.
        arguments: names of what the layer is called with by position, after the stream.
    """

    run: Callable[[Any, Tensor, Attend, Keep], Tensor]
    attention: str = "self_attn"
    down: str = "mlp.down_proj"
    norms: dict[str, str] = field(
        default_factory=lambda: {"attn": "input_layernorm", "mlp": "post_attention_layernorm"}
    )
    streams: dict[str, tuple[str, str]] = field(
        default_factory=lambda: {"attn": ("h_in", "h_half"), "mlp": ("h_half", "h_out")}
    )
    arguments: tuple[str, ...] = ()


PARALLEL = {"attn": ("h_in", "h_out"), "mlp": ("h_in", "h_out")}


def pre_norm(b: Any, x: Tensor, attend: Attend, keep: Keep) -> Tensor:
    """Llama and most others."""
    h = keep("h_half", x + keep("r_attn", attend(keep("hn", b.input_layernorm(x)))))
    return h + keep("r_mlp", b.mlp(keep("hn2", b.post_attention_layernorm(h))))


def granite(b: Any, x: Tensor, attend: Attend, keep: Keep) -> Tensor:
    """What is added is the branch output times a number."""
    h = keep("h_half", x + keep("r_attn", b.residual_multiplier * attend(keep("hn", b.input_layernorm(x)))))
    return h + keep("r_mlp", b.residual_multiplier * b.mlp(keep("hn2", b.post_attention_layernorm(h))))


def gemma_sandwich(b: Any, x: Tensor, attend: Attend, keep: Keep) -> Tensor:
    """Gemma 2 and 3: a norm before and one after each branch."""
    h = keep("h_half", x + keep("r_attn", b.post_attention_layernorm(attend(keep("hn", b.input_layernorm(x))))))
    out = b.mlp(keep("hn2", b.pre_feedforward_layernorm(h)))
    return h + keep("r_mlp", b.post_feedforward_layernorm(out))


def glm_sandwich(b: Any, x: Tensor, attend: Attend, keep: Keep) -> Tensor:
    """GLM-4: the same under other names."""
    h = keep("h_half", x + keep("r_attn", b.post_self_attn_layernorm(attend(keep("hn", b.input_layernorm(x))))))
    return h + keep("r_mlp", b.post_mlp_layernorm(b.mlp(keep("hn2", b.post_attention_layernorm(h)))))


def post_norm(b: Any, x: Tensor, attend: Attend, keep: Keep) -> Tensor:
    """OLMo 2 and 3: branches read the stream itself."""
    h = keep("h_half", x + keep("r_attn", b.post_attention_layernorm(attend(x))))
    return h + keep("r_mlp", b.post_feedforward_layernorm(b.mlp(h)))


def stablelm(b: Any, x: Tensor, attend: Attend, keep: Keep) -> Tensor:
    """Sequential, or parallel with one norm."""
    return one_norm(b, x, attend, keep) if b.use_parallel_residual else pre_norm(b, x, attend, keep)


def one_norm(b: Any, x: Tensor, attend: Attend, keep: Keep) -> Tensor:
    """Phi and Cohere: both branches read the stream through the same norm, computed here once for each."""
    r_attn = keep("r_attn", attend(keep("hn", b.input_layernorm(x))))
    return x + r_attn + keep("r_mlp", b.mlp(keep("hn2", b.input_layernorm(x))))


def gpt_neox(b: Any, x: Tensor, attend: Attend, keep: Keep) -> Tensor:
    """Sequential, or parallel with two norms."""
    if not b.use_parallel_residual:
        return pre_norm(b, x, attend, keep)
    r_attn = keep("r_attn", attend(keep("hn", b.input_layernorm(x))))
    return x + r_attn + keep("r_mlp", b.mlp(keep("hn2", b.post_attention_layernorm(x))))


def gpt2(b: Any, x: Tensor, attend: Attend, keep: Keep) -> Tensor:
    """Pre-norm, with the names of 2019."""
    h = keep("h_half", x + keep("r_attn", attend(keep("hn", b.ln_1(x)))))
    return h + keep("r_mlp", b.mlp(keep("hn2", b.ln_2(h))))


def opt(b: Any, x: Tensor, attend: Attend, keep: Keep) -> Tensor:
    """Pre-norm, or with norms on the stream itself."""
    if b.do_layer_norm_before:
        h = keep("h_half", x + keep("r_attn", attend(keep("hn", b.self_attn_layer_norm(x)))))
        return h + keep("r_mlp", b.fc2(b.activation_fn(b.fc1(keep("hn2", b.final_layer_norm(h))))))
    h = keep("h_half", b.self_attn_layer_norm(x + keep("r_attn", attend(x))))
    out: Tensor = b.final_layer_norm(h + keep("r_mlp", b.fc2(b.activation_fn(b.fc1(h)))))
    return out


def gpt_oss(b: Any, x: Tensor, attend: Attend, keep: Keep) -> Tensor:
    """Pre-norm; the MLP returns its router's scores too."""
    h = keep("h_half", x + keep("r_attn", attend(keep("hn", b.input_layernorm(x)))))
    return h + keep("r_mlp", b.mlp(keep("hn2", b.post_attention_layernorm(h)))[0])


def llama4(b: Any, x: Tensor, attend: Attend, keep: Keep) -> Tensor:
    """Pre-norm; a mixture of experts returns a flattened batch, and its router's logits."""
    h = keep("h_half", x + keep("r_attn", attend(keep("hn", b.input_layernorm(x)))))
    out = b.feed_forward(keep("hn2", b.post_attention_layernorm(h)))
    return h + keep("r_mlp", out[0].view(h.shape) if b.is_moe_layer else out)


def falcon(b: Any, x: Tensor, attend: Attend, keep: Keep) -> Tensor:
    """Sequential, parallel with one norm (computed once per branch), or parallel with two."""
    if not b.config.parallel_attn and not b.config.new_decoder_architecture:
        return pre_norm(b, x, attend, keep)
    before_attention, before_mlp = (b.get_submodule(path) for path in falcon_norms(b).values())
    r_attn = keep("r_attn", attend(keep("hn", before_attention(x))))
    return x + r_attn + keep("r_mlp", b.mlp(keep("hn2", before_mlp(x))))


def falcon_norms(b: Any) -> dict[str, str]:
    """The norms that Falcon's branches read through, which three settings decide."""
    if hasattr(b, "ln_attn"):
        return {"attn": "ln_attn", "mlp": "ln_mlp"}
    one = b.config.parallel_attn or b.config.new_decoder_architecture
    return {"attn": "input_layernorm", "mlp": "input_layernorm" if one else "post_attention_layernorm"}


_POST = Block(post_norm, norms={})
_GEMMA = Block(gemma_sandwich, norms={"attn": "input_layernorm", "mlp": "pre_feedforward_layernorm"})


def block_of(layer: nn.Module) -> Block:
    """How a decoder layer is built."""
    b: Any = layer
    name = type(layer).__name__
    if name == "StableLmDecoderLayer" and b.use_parallel_residual:
        return Block(stablelm, norms={"attn": "input_layernorm", "mlp": "input_layernorm"}, streams=PARALLEL)
    if name == "GPTNeoXLayer":
        streams = PARALLEL if b.use_parallel_residual else Block(gpt_neox).streams
        return Block(gpt_neox, "attention", "mlp.dense_4h_to_h", streams=streams)
    if name == "OPTDecoderLayer":
        norms = {"attn": "self_attn_layer_norm", "mlp": "final_layer_norm"} if b.do_layer_norm_before else {}
        return Block(opt, down="fc2", norms=norms)
    if name == "FalconDecoderLayer":
        parallel = b.config.parallel_attn or b.config.new_decoder_architecture
        streams = PARALLEL if parallel else Block(falcon).streams
        return Block(falcon, "self_attention", "mlp.dense_4h_to_h", falcon_norms(b), streams)
    return _BY_CLASS[name]


_ONE_NORM = {"attn": "input_layernorm", "mlp": "input_layernorm"}
_BY_CLASS = {
    "SeedOssDecoderLayer": Block(pre_norm),
    "Exaone4DecoderLayer": _POST,
    "NemotronDecoderLayer": Block(pre_norm),
    "Starcoder2DecoderLayer": Block(pre_norm, down="mlp.c_proj"),
    "PhiDecoderLayer": Block(one_norm, down="mlp.fc2", norms=_ONE_NORM, streams=PARALLEL),
    "CohereDecoderLayer": Block(one_norm, norms=_ONE_NORM, streams=PARALLEL),
    "Cohere2DecoderLayer": Block(one_norm, norms=_ONE_NORM, streams=PARALLEL),
    "LlamaDecoderLayer": Block(pre_norm),
    "MistralDecoderLayer": Block(pre_norm),
    "MinistralDecoderLayer": Block(pre_norm),
    "Ministral3DecoderLayer": Block(pre_norm),
    "Qwen2DecoderLayer": Block(pre_norm),
    "Qwen3DecoderLayer": Block(pre_norm),
    "GemmaDecoderLayer": Block(pre_norm),
    "Gemma2DecoderLayer": _GEMMA,
    "Gemma3DecoderLayer": _GEMMA,
    "Phi3DecoderLayer": Block(pre_norm),
    "OlmoDecoderLayer": Block(pre_norm),
    "Olmo2DecoderLayer": _POST,
    "Olmo3DecoderLayer": _POST,
    "GlmDecoderLayer": Block(pre_norm),
    "Glm4DecoderLayer": Block(glm_sandwich),
    "Glm4MoeDecoderLayer": Block(pre_norm),
    "GraniteDecoderLayer": Block(granite),
    "SmolLM3DecoderLayer": Block(pre_norm),
    "StableLmDecoderLayer": Block(stablelm),
    "MixtralDecoderLayer": Block(pre_norm),
    "OlmoeDecoderLayer": Block(pre_norm),
    "Qwen2MoeDecoderLayer": Block(pre_norm),
    "Qwen3MoeDecoderLayer": Block(pre_norm),
    "DeepseekV2DecoderLayer": Block(pre_norm),
    "DeepseekV3DecoderLayer": Block(pre_norm),
    "GptOssDecoderLayer": Block(gpt_oss),
    "Qwen2_5_VLDecoderLayer": Block(pre_norm),
    "Llama4TextDecoderLayer": Block(llama4, down="feed_forward.down_proj"),
    "GPT2Block": Block(
        gpt2,
        "attn",
        "mlp.c_proj",
        {"attn": "ln_1", "mlp": "ln_2"},
        arguments=("past_key_values", "attention_mask", "encoder_hidden_states"),
    ),
}


def layers_of(model: Any) -> list[nn.Module]:
    """The decoder layers: the modules of the classes above."""
    known = {*_BY_CLASS, "GPTNeoXLayer", "OPTDecoderLayer", "FalconDecoderLayer"}
    return [module for module in model.modules() if type(module).__name__ in known]


def repeats_of(layer: nn.Module) -> int:
    """How often a layer repeats each key/value head before attention sees it."""
    b: Any = layer
    if type(layer).__name__ == "FalconDecoderLayer" and b.config.new_decoder_architecture:
        return int(b.config.num_attention_heads // b.config.num_kv_heads)
    return 1


def final_norm_of(model: Any) -> nn.Module | None:
    """The norm before the output head; None where there is none."""
    paths = {
        "PhiForCausalLM": "model.final_layernorm",
        "GPTNeoXForCausalLM": "gpt_neox.final_layer_norm",
        "GPT2LMHeadModel": "transformer.ln_f",
        "Qwen2_5_VLForConditionalGeneration": "model.language_model.norm",
        "FalconForCausalLM": "transformer.ln_f",
        "OPTForCausalLM": "model.decoder.final_layer_norm",
    }
    owner, _, name = paths.get(type(model).__name__, "model.norm").rpartition(".")
    found: nn.Module | None = getattr(model.get_submodule(owner), name)
    return found


def gain_of(norm: Any) -> float:
    """Largest |gamma| of a norm."""
    name = type(norm).__name__
    weight = None if name == "OlmoLayerNorm" else norm.weight
    if weight is None:
        return 1.0
    gamma = weight.detach().double() + (1 if name.startswith(("Gemma", "Nemotron")) else 0)
    return float(gamma.abs().max())


def root_of(norm: Any, x: Tensor) -> Tensor:
    """What a norm divides each token x [T, d] by: [T]."""
    name = type(norm).__name__
    if name == "OlmoLayerNorm":
        return (x.var(-1, correction=0) + 1e-5).sqrt()
    if name in ("LayerNorm", "NemotronLayerNorm1P"):
        return (x.var(-1, correction=0) + norm.eps).sqrt()
    if name in ("CohereLayerNorm", "Cohere2LayerNorm"):
        return (x.var(-1, correction=0) + norm.variance_epsilon).sqrt()
    epsilon = norm.eps if name.startswith(("Gemma", "Llama4")) else norm.variance_epsilon
    return (x.square().mean(-1) + epsilon).sqrt()
