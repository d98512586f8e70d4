"""Tiny random models, one per family whose attention differs, with sinks at many positions.

Freshly initialized weights give almost uniform attention. Queries and keys are therefore scaled up, which makes heads
that prefer some keys, and the gains of the norms are made unequal, so that a forgotten gamma shows. One token can carry
a massive activation from the embedding on.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    PreTrainedModel,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from reference.moe_models import MOE

VOCABULARY = 64
BOS = 1
_SHAPE: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 1024,
    "tie_word_embeddings": False,
    "bos_token_id": BOS,
    "eos_token_id": 2,
}

FAMILIES: dict[str, Callable[[], PreTrainedModel]] = {
    "llama_mha": lambda: LlamaForCausalLM(LlamaConfig(**{**_SHAPE, "num_key_value_heads": 4})),
    "llama_gqa": lambda: LlamaForCausalLM(LlamaConfig(**_SHAPE)),
    "mistral_window": lambda: MistralForCausalLM(MistralConfig(**_SHAPE, sliding_window=6)),
    "qwen2": lambda: Qwen2ForCausalLM(Qwen2Config(**_SHAPE)),
    "qwen3": lambda: Qwen3ForCausalLM(Qwen3Config(**_SHAPE, head_dim=16)),
    **MOE,
}


def tiny(family: str, seed: int = 0, *, massive: bool = False, sharpness: float = 12.0) -> PreTrainedModel:
    """A random model of `family` in float32 and eval mode.

    Args:
        family: a key of `FAMILIES`.
        seed: of the weights.
        massive: gives the BOS token ten entries of hundreds at the embedding.
        sharpness: factor on the query and key projections (on the gains of the q/k norms where there are any).
    """
    torch.manual_seed(seed)
    model = FAMILIES[family]().eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("bias"):
                parameter.normal_(0, 0.1)
            elif "q_norm" in name or "k_norm" in name:
                parameter.mul_(1.5)
            elif "norm" in name:
                parameter.copy_(1 + 0.3 * torch.randn_like(parameter))
            elif "q_proj" in name or "k_proj" in name:
                parameter.mul_(sharpness)
            else:
                parameter.mul_(4)
        if massive:
            model.get_input_embeddings().weight[BOS, 5:15] = 300.0 + 17.0 * torch.arange(10.0)
    return model


def tokens(sequences: int, length: int, seed: int = 0) -> Tensor:
    """Random token ids [sequences, length] above the special ones, BOS first."""
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(3, VOCABULARY, (sequences, length), generator=generator)
    ids[:, 0] = BOS
    return ids


def padded(lengths: list[int], side: str, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Sequences of unequal lengths, padded on `side`: ids, attention mask and labels, all [N, T].

    The labels leave out padding and each sequence's first token, which no token of the sequence predicts.
    """
    width = max(lengths)
    ids, mask = torch.zeros(2, len(lengths), width, dtype=torch.long)
    labels = torch.full((len(lengths), width), -100)
    for n, (length, row) in enumerate(zip(lengths, tokens(len(lengths), width, seed), strict=True)):
        start = width - length if side == "left" else 0
        ids[n, start : start + length] = row[:length]
        mask[n, start : start + length] = 1
        labels[n, start + 1 : start + length] = row[1:length]
    return ids, mask, labels
