"""Small GGUF files, written by the package gguf from a tiny Llama, as llama.cpp's converter writes them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tiny
from gguf import GGMLQuantizationType, GGUFWriter, TokenType, quantize

F32, F16, Q8_0 = GGMLQuantizationType.F32, GGMLQuantizationType.F16, GGMLQuantizationType.Q8_0
HEAD_DIM = 8
TYPES = {"F32": 8, "F16": 5, "Q8_0": 8}
"""How many tensors `write` stores in which type: norms and the head in F32, MLPs in F16 but for a matrix, attention."""
_PLACES = {
    "self_attn.q_proj": ("attn_q", Q8_0), "self_attn.k_proj": ("attn_k", Q8_0), "self_attn.v_proj": ("attn_v", Q8_0),
    "self_attn.o_proj": ("attn_output", Q8_0), "mlp.gate_proj": ("ffn_gate", F16), "mlp.up_proj": ("ffn_up", F16),
    "mlp.down_proj": ("ffn_down", F32), "input_layernorm": ("attn_norm", F32),
    "post_attention_layernorm": ("ffn_norm", F32),
}  # fmt: skip
_NAMES = {"model.embed_tokens.weight": ("token_embd.weight", F16), "model.norm.weight": ("output_norm.weight", F32),
          "lm_head.weight": ("output.weight", F32)}  # fmt: skip


def write(path: Path, change: Callable[[GGUFWriter], Any] | None = None, **left_out: bool) -> Path:
    """Writes a tiny Llama with a byte-level tokenizer.

    Args:
        path: the file.
        change: adds to the header.
        left_out: `tokenizer=False` leaves out the tokenizer.
    """
    model = tiny.build("llama_gqa", seed=3)
    config = model.config
    writer = GGUFWriter(path, "llama")
    writer.add_name("tiny")
    writer.add_context_length(config.max_position_embeddings)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_dimension_count(config.head_dim)
    writer.add_rope_freq_base(10000.0)
    writer.add_vocab_size(config.vocab_size)
    if left_out.get("tokenizer", True):
        _add_tokenizer(writer)
    if change is not None:
        change(writer)
    for name, tensor in model.state_dict().items():
        stored, kind = _place(name)
        values = tensor.numpy()
        if name.endswith(("q_proj.weight", "k_proj.weight")):
            values = _interleaved(values)
        packed = quantize(np.ascontiguousarray(values), kind)
        writer.add_tensor(stored, packed, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _add_tokenizer(writer: GGUFWriter) -> None:
    vocabulary = tiny.tokenizer().get_vocab()
    tokens = sorted(vocabulary, key=lambda token: vocabulary[token])
    special = (tiny.BOS, tiny.EOS)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types([TokenType.CONTROL if token in special else TokenType.NORMAL for token in tokens])
    writer.add_token_scores([0.0] * len(tokens))  # merges follow from them: none, as no token is two others
    writer.add_bos_token_id(vocabulary[tiny.BOS])
    writer.add_eos_token_id(vocabulary[tiny.EOS])
    writer.add_add_bos_token(True)


def _place(name: str) -> tuple[str, GGMLQuantizationType]:
    if name in _NAMES:
        return _NAMES[name]
    _, _, layer, rest = name.split(".", 3)
    stored, kind = _PLACES[rest.removesuffix(".weight")]
    return f"blk.{layer}.{stored}.weight", kind


def _interleaved(weight: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Rows of a query or key projection in llama.cpp's order: the halves that rotate together side by side."""
    heads = len(weight) // HEAD_DIM
    return weight.reshape(heads, 2, HEAD_DIM // 2, -1).swapaxes(1, 2).reshape(weight.shape)
