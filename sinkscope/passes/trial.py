"""What passes take on a loaded model, from parts of one: the first layers, and a chunk of tokens in the output head.

Layers of one kind cost the same, and the head costs the same per token, so that both can be multiplied up. Attention
does not: a pass is tried at the length that it will have.
"""

import time
from collections.abc import Callable

import torch
from torch import Tensor
from transformers import PreTrainedModel

from sinkscope.models.families import family_of
from sinkscope.models.first_layers import first_layers, sample_size
from sinkscope.passes.batches import batches_of
from sinkscope.passes.modes import embedding, frozen, input_device
from sinkscope.passes.output_head import CHUNK, head_losses

_WARMING = 16  # tokens of a pass before the one that is timed: the first one loads kernels


def some_ids(model: PreTrainedModel, rows: int, tokens: int) -> Tensor:
    """Token ids [rows, tokens] to try passes on, always the same: the text may be a pipe, which is read once."""
    generator = torch.Generator().manual_seed(0)
    vocabulary = min(len(embedding(model).weight), int(model.config.get_text_config().vocab_size))
    ids = torch.randint(vocabulary, (rows, tokens), generator=generator)
    for name in family_of(model).images:  # these stand for pictures, which are not there
        ids[ids == int(getattr(model.config, name))] = 0
    return ids


def seconds_of_layers(model: PreTrainedModel, rows: int, tokens: int) -> float:
    """Seconds of token ids [rows, tokens] through all decoder layers, without gradients."""
    count = sample_size(model)
    scale = len(family_of(model).decoder_layers(model)) / count

    def through(length: int) -> None:
        ids = torch.zeros(rows, length, dtype=torch.int64, device=input_device(model))
        family_of(model).decoder(model)(input_ids=ids, use_cache=False)

    with first_layers(model, count), frozen(model), torch.no_grad():
        through(min(_WARMING, tokens))
        return scale * timed(lambda: through(tokens))


def seconds_of_head(model: PreTrainedModel, rows: int, tokens: int, *, backward: bool = False) -> float:
    """Seconds of the output head and its losses on hidden states [rows, tokens], from those on one chunk of them."""
    config = model.config.get_text_config()
    chunk = min(max(1, CHUNK // (rows * int(config.vocab_size))), max(tokens - 1, 1))
    batch = batches_of(torch.zeros(rows, chunk + 1, dtype=torch.int64), None, rows)[0]
    output = model.get_output_embeddings()
    weight = output.weight
    dtype = weight.dtype if weight.dtype.is_floating_point else model.dtype
    hidden = torch.zeros(
        rows, chunk + 1, int(getattr(output, "in_features", config.hidden_size)), device=weight.device, dtype=dtype
    )
    return timed(lambda: head_losses(model, hidden, batch, backward=backward)) * tokens / chunk


def timed(work: Callable[[], object]) -> float:
    """Seconds that a piece of work takes, what it started on a GPU included."""
    started = now()
    work()
    return now() - started


def now() -> float:
    """Seconds of the clock, once a GPU has done what it was given."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()
