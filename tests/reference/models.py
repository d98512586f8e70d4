"""The tiny models that the reference is compared on, and what they read.

The models are those of tests/families.py. One token can carry a massive activation from the embedding on.
"""

import families
import torch
from torch import Tensor
from transformers import PreTrainedModel

VOCABULARY = 258
BOS = 3
FAMILIES = list(families.TINY)
LLAMAS = ["llama_mha", "llama_gqa", "mistral_window", "qwen2", "qwen3"]  # one structure, whose attention differs
STRUCTURES = ["gemma3_text", "olmo2", "granite", "stablelm_parallel", "gpt_neox", "gpt2", "opt", "opt_stream_norm"]
MIXTURES = ["mixtral", "deepseek_v3", "gpt_oss", "llama4_text"]


def tiny(family: str, seed: int = 0, *, massive: bool = False, sharpness: float = 12.0) -> PreTrainedModel:
    """A random model of `family` in float32 and eval mode.

    Args:
        family: a key of `families.TINY`.
        seed: of the weights.
        massive: gives the BOS token ten entries of hundreds at the embedding.
        sharpness: factor on the query and key projections.
    """
    model = families.tiny(family, seed, sharpness=sharpness)
    if massive:
        with torch.no_grad():
            model.get_input_embeddings().weight[BOS, 5:15] = 300.0 + 17.0 * torch.arange(10.0)
    return model


def tokens(sequences: int, length: int, seed: int = 0) -> Tensor:
    """Random token ids [sequences, length] above the special ones, BOS first.

    No sequence up to 254 tokens holds a token twice: in a parallel block what the first MLP makes of a token does not
    depend on its position, and entries of equal size have no order.
    """
    generator = torch.Generator().manual_seed(seed)
    drawn = [torch.randperm(VOCABULARY - BOS - 1, generator=generator) for _ in range(sequences)]
    ids = torch.stack([row.repeat(-(-length // len(row)))[:length] for row in drawn]) + BOS + 1
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
