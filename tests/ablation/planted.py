"""A tiny model whose first token has a massive activation and is a sink, in a folder."""

from pathlib import Path

import tiny as tiny_models
import torch
from families import tiny
from transformers import PreTrainedModel

CHANNEL = 5


def planted(seed: int = 0) -> PreTrainedModel:
    """The embedding of <bos> has one huge entry, which the residual stream carries through all layers."""
    model = tiny("llama_gqa", seed=seed)
    with torch.no_grad():
        model.get_input_embeddings().weight[0, CHANNEL] = 1e5
    return model


def saved(folder: Path, seed: int = 0) -> Path:
    """It, with the byte-level tokenizer, in a folder."""
    return tiny_models.save(planted(seed), folder)
