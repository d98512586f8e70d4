"""Unpacking a checkpoint of compressed-tensors once it is loaded.

The library unpacks weights in the first pass of the whole model, and only there. Measuring runs parts of a model by
themselves, the decoder without its head or a layer, which would read codes for weights.
"""

import io
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, redirect_stderr
from typing import cast

import torch
from torch import nn
from transformers import PreTrainedModel

METHOD = "compressed-tensors"


@contextmanager
def without_bars(*, wanted: bool) -> Iterator[None]:
    """Keeps the library's progress bars, which nothing turns off, out of the terminal while it works."""
    with redirect_stderr(io.StringIO()) if wanted else nullcontext():
        yield


def rounds_inputs(model: PreTrainedModel) -> bool:
    """Whether a module of the model rounds what it reads, which the library does without a derivative."""
    schemes = (getattr(module, "quantization_scheme", None) for module in model.modules())
    return any(scheme is not None and scheme.input_activations is not None for scheme in schemes)


@torch.no_grad()
def unpack_(model: PreTrainedModel) -> None:
    """Has the library unpack all weights, by a pass over two tokens."""
    reads = cast("nn.Embedding", model.get_input_embeddings())
    ids = torch.zeros(1, 2, dtype=torch.long, device=reads.weight.device)
    with without_bars(wanted=True):
        model(input_ids=ids, use_cache=False)
