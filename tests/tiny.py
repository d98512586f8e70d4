"""Tiny random models and a byte-level tokenizer, built from their configurations."""

from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

CONTEXT = 64
BOS, EOS = "<bos>", "<eos>"

_FAMILIES: dict[str, tuple[Any, Any]] = {
    "llama": (LlamaConfig, LlamaForCausalLM),
    "mistral": (MistralConfig, MistralForCausalLM),
    "qwen2": (Qwen2Config, Qwen2ForCausalLM),
    "qwen3": (Qwen3Config, Qwen3ForCausalLM),
}
_KV_HEADS = {"mha": 4, "gqa": 2}
MODELS = [f"{family}_{heads}" for family in _FAMILIES for heads in _KV_HEADS]


def build(name: str, seed: int = 0, **changes: Any) -> PreTrainedModel:
    """A random model in float32 and eval mode.

    Args:
        name: one of `MODELS`.
        seed: of the weights.
        changes: configuration values that replace the tiny ones.
    """
    family, heads = name.split("_")
    config, model = _FAMILIES[family]
    shape = {
        "vocab_size": 258,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": _KV_HEADS[heads],
        "head_dim": 8,
        "max_position_embeddings": CONTEXT,
        "tie_word_embeddings": False,
        "bos_token_id": 0,
        "eos_token_id": 1,
    }
    torch.manual_seed(seed)
    built: PreTrainedModel = model(config(**{**shape, **changes})).eval()
    return built


def tokenizer() -> PreTrainedTokenizerFast:
    """One token per byte, with <bos> put before every text."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: number for number, token in enumerate([BOS, EOS, *alphabet])}
    core = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    core.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A", pair=f"{BOS} $A $B", special_tokens=[(BOS, 0), (EOS, 1)]
    )
    return PreTrainedTokenizerFast(tokenizer_object=core, bos_token=BOS, eos_token=EOS, model_max_length=CONTEXT)


def save(model: PreTrainedModel, folder: Path, **options: Any) -> Path:
    """Saves a model and the tokenizer into one folder.

    Args:
        model: the model.
        folder: its place.
        options: of `save_pretrained`, as `max_shard_size`.
    """
    model.save_pretrained(folder, **options)
    tokenizer().save_pretrained(folder)
    return folder


# A training run of seconds; SOURCE stands for its text.
RECIPE = """
name = "tiny"
[model]
hidden_size = 16
intermediate_size = 24
num_hidden_layers = 1
num_attention_heads = 2
num_key_value_heads = 1
head_dim = 8
[tokenizer]
vocab_size = 270
[data]
source = "SOURCE"
tokens = 16
holdout = 4
valid_sequences = 2
[optimizer]
lr = 1e-3
batch_sequences = 2
[schedule]
steps = 50
warmup = 1
"""
