"""The mode in which a model is measured (no dropout, no parameter gradients), and where it reads its tokens."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

import torch
from torch import nn
from transformers import PreTrainedModel


@contextmanager
def plain_torch(device: torch.device) -> Iterator[None]:
    """Torch as a measurement expects it, whatever stands around it: no autocast, no inference mode, float32."""
    dtype = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    try:
        with torch.inference_mode(mode=False), torch.autocast(device.type, enabled=False):
            yield
    finally:
        torch.set_default_dtype(dtype)


@contextmanager
def frozen(model: PreTrainedModel) -> Iterator[None]:
    """Evaluation mode without parameter gradients; both are put back."""
    modes = [(module, module.training) for module in model.modules()]
    trained = [p for p in model.parameters() if p.requires_grad]
    model.eval()
    for parameter in trained:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in trained:
            parameter.requires_grad_(True)
        for module, training in modes:  # one by one: parts of a model in training may be in evaluation mode
            module.training = training


def input_device(model: PreTrainedModel) -> torch.device:
    """Where a model reads its token ids."""
    return embedding(model).weight.device


def embedding(model: PreTrainedModel) -> nn.Embedding:
    """What turns token ids into vectors."""
    return cast("nn.Embedding", model.get_input_embeddings())
