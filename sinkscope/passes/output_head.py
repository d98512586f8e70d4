"""From the decoder's last hidden states to losses and their gradient, without all logits at once.

With a vocabulary of 128,000 the logits of one window are many times larger than its hidden states. So the head runs on
a chunk of tokens at a time: the chunk's logits become losses, the gradient of the losses at the hidden states is taken
where it is wanted, and the logits are freed before the next chunk. What is kept is a loss per sequence and, with
gradients, one vector per token.

The head is the model's own code: the model runs with its decoder replaced by a module that returns the chunk of hidden
states. Whatever the model does to its logits (scaling, soft capping) is therefore done here too.

Shapes: B sequences of T tokens, D channels.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.utils import ModelOutput  # type: ignore[attr-defined]  # exported lazily

from sinkscope.models.families import family_of
from sinkscope.passes.batches import Batch
from sinkscope.passes.losses import cross_entropy

CHUNK = 2**23  # logits made at once


class HeadResult(NamedTuple):
    """What the head makes of hidden states.

    Attributes:
        losses: each sequence's loss in nats, summed over its targets, float32 [B].
        gradient: of the losses' sum at the hidden states, in their dtype [B, T, D]; None where none was wanted.
    """

    losses: Tensor
    gradient: Tensor | None


def head_losses(model: PreTrainedModel, hidden: Tensor, batch: Batch, *, backward: bool) -> HeadResult:
    """Losses of a batch from the hidden states behind the final norm.

    Args:
        model: the causal LM; only what stands behind its decoder is used.
        hidden: [B, T, D].
        batch: what the hidden states were computed from.
        backward: whether to take the gradient too.
    """
    hidden = hidden.detach()
    gradient = torch.zeros_like(hidden) if backward else None
    targets = batch.targets.to(hidden.device)
    losses = torch.zeros(len(hidden), device=hidden.device)
    B, T, _ = hidden.shape
    tokens = max(1, CHUNK // (B * int(model.config.get_text_config().vocab_size)))
    with _without_decoder(model) as decoder, torch.set_grad_enabled(backward):
        for start in range(0, T - 1, tokens):  # the last token predicts nothing
            stop = min(start + tokens, T - 1)
            chunk = hidden[:, start:stop].requires_grad_(backward)
            decoder.hidden = chunk
            logits = model(input_ids=batch.input_ids[:, start:stop].to(hidden.device), use_cache=False).logits
            wanted = targets[:, start + 1 : stop + 1]
            of_tokens = cross_entropy(logits.flatten(0, 1), wanted.flatten())
            losses += of_tokens.detach().view(wanted.shape).sum(1)
            if gradient is not None:
                gradient[:, start:stop] = torch.autograd.grad(of_tokens.sum(), chunk)[0]
    return HeadResult(losses, gradient)


@torch.no_grad()
def chunks_of_logits(
    model: PreTrainedModel, hidden: Sequence[Tensor], input_ids: Tensor
) -> Iterator[tuple[slice, list[Tensor]]]:
    """Logits of hidden states that belong together, a chunk of tokens at a time.

    Args:
        model: the causal LM; only what stands behind its decoder is used.
        hidden: each [B, T, D], behind the final norm.
        input_ids: [B, T]; only where they lie is looked at.

    Yields:
        Places of the chunk, and the logits [B, t, V] of each of the hidden states there.
    """
    B, T, _ = hidden[0].shape
    tokens = max(1, CHUNK // (B * int(model.config.get_text_config().vocab_size)))
    with _without_decoder(model) as decoder:
        for start in range(0, T, tokens):
            places = slice(start, min(start + tokens, T))
            logits = []
            for one in hidden:
                decoder.hidden = one[:, places]
                logits.append(model(input_ids=input_ids[:, places].to(one.device), use_cache=False).logits)
            yield places, logits


@dataclass
class _Output(ModelOutput):
    """The output of a decoder as causal LMs read it: hidden states, and nothing else.

    Causal LMs also copy the decoder's cache, attentions, router logits and so on into their own output, under names
    that differ between models and releases. All of these are None here.
    """

    last_hidden_state: Tensor | None = None

    def __getattr__(self, name: str) -> None:
        if name.startswith("_"):
            raise AttributeError(name)


class _Given(nn.Module):
    """Stands in for a decoder: whatever it is called with, it returns the given hidden states."""

    hidden: Tensor

    def forward(self, *_: Any, **__: Any) -> _Output:
        return _Output(last_hidden_state=self.hidden)


@contextmanager
def _without_decoder(model: PreTrainedModel) -> Iterator[_Given]:
    decoder = family_of(model).decoder(model)
    name = next(name for name, module in model.named_modules() if module is decoder)
    parent, _, child = name.rpartition(".")
    holder, given = model.get_submodule(parent), _Given()
    holder.add_module(child, given)  # in the place of the one of this name
    try:
        yield given
    finally:
        holder.add_module(child, decoder)
