"""Micro-batches: the windows of text that one forward pass reads, with their targets and position ids.

A target is a token whose loss counts: the model predicts it from the tokens before it. The first token of a window has
none before it, and neither has the first of an isolated document, so these are no targets.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from transformers import PreTrainedModel

from sinkscope.errors import RequestError, SinkscopeError
from sinkscope.models.families import family_of
from sinkscope.models.shape import context_of
from sinkscope.passes.modes import embedding

IGNORED = -100


class Batch(NamedTuple):
    """What one forward pass reads: token ids and targets [B, T], and position ids [B, T] for isolated documents."""

    input_ids: Tensor
    targets: Tensor
    positions: Tensor | None


def batches_of(input_ids: Tensor, document_ids: Tensor | None, batch_size: int) -> list[Batch]:
    """Cuts windows [N, T] into batches.

    Args:
        input_ids: token ids [N, T], without padding.
        document_ids: documents [N, T] that shall not attend to each other; None lets packed windows attend across.
        batch_size: windows per forward pass.
    """
    targets = _targets(input_ids, document_ids)
    positions = _positions(input_ids, document_ids, batch_size)
    parts = zip(input_ids.split(batch_size), targets.split(batch_size), positions, strict=True)
    return [Batch(*part) for part in parts]


def first_windows(batches: Sequence[Batch], count: int) -> list[Batch]:
    """The first windows of some batches, however many a batch has: the last one that is taken may be cut."""
    first = []
    for batch in batches:
        if count <= 0:
            break
        positions = None if batch.positions is None else batch.positions[:count]
        first.append(Batch(batch.input_ids[:count], batch.targets[:count], positions))
        count -= len(batch.input_ids)
    return first


def as_windows(ids: Any, name: str = "input_ids") -> Tensor:
    """Token ids as windows, int64 [N, T], from what programs keep them in.

    Args:
        ids: a tensor of integers, a numpy array, or lists of lists of integers, all of one length.
        name: of the argument, for messages.

    Raises:
        RequestError: if they are something else.
    """
    try:
        windows = ids if isinstance(ids, Tensor) else torch.as_tensor(ids)
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise RequestError(f"{name} are integers [sequences, tokens], all sequences of one length") from error
    if windows.dim() != 2 or windows.is_floating_point() or windows.is_complex() or windows.dtype is torch.bool:
        shape = f"{list(windows.shape)} of {str(windows.dtype).removeprefix('torch.')}"
        raise RequestError(f"{name} are integers [sequences, tokens], not {shape}")
    with torch.inference_mode(mode=False):  # a tensor that was made there takes part in no gradient
        return windows.detach().to("cpu", torch.int64).clone()


def check_windows(model: PreTrainedModel, input_ids: Tensor, batch_size: int) -> None:
    """Refuses windows that a model cannot read.

    Raises:
        SinkscopeError: if there are none, they are too short or longer than the context, or hold unknown token ids.
    """
    if input_ids.dim() != 2 or not len(input_ids):
        raise RequestError("there is no sequence to measure: `sequences` must be at least 1")
    if batch_size < 1:
        raise RequestError("`batch_size` must be at least 1")
    if input_ids.shape[1] < 2:
        raise RequestError("a sequence needs at least 2 tokens, one to predict")
    longest = context_of(model.config)
    if longest is not None and input_ids.shape[1] > longest:
        raise RequestError(f"{input_ids.shape[1]} tokens exceed the model's context of {longest}: use fewer `tokens`")
    vocabulary = len(embedding(model).weight)
    if int(input_ids.max()) >= vocabulary or int(input_ids.min()) < 0:
        raise SinkscopeError(f"the text holds token ids outside the model's {vocabulary} embeddings: wrong tokenizer?")


def check_isolation(model: PreTrainedModel) -> None:
    """Refuses models whose attention masks do not follow restarting position ids.

    Raises:
        SinkscopeError: for such a model.
    """
    family = family_of(model)
    if not family.isolates:
        raise RequestError(
            f"transformers does not keep documents apart in a '{family.model_type}': leave out `isolate_documents`"
        )


def target_counts(batch: Batch) -> Tensor:
    """Each sequence's number of targets, int64 [B]."""
    return (batch.targets[:, 1:] != IGNORED).sum(1)


def _targets(input_ids: Tensor, document_ids: Tensor | None) -> Tensor:
    """Targets [N, T]: each place holds its own token, or `IGNORED` where that token is no target."""
    starts = torch.zeros_like(input_ids, dtype=torch.bool)
    starts[:, 0] = True
    if document_ids is not None:
        starts[:, 1:] = document_ids[:, 1:] != document_ids[:, :-1]
    return input_ids.masked_fill(starts, IGNORED)


def _positions(input_ids: Tensor, document_ids: Tensor | None, batch_size: int) -> list[Tensor | None]:
    """Position ids that start at 0 with every isolated document: so transformers masks it from the others."""
    if document_ids is None:
        return [None] * len(input_ids.split(batch_size))
    running = torch.arange(input_ids.shape[1]).expand_as(input_ids)
    starts = torch.zeros_like(running)
    starts[:, 1:] = torch.where(document_ids[:, 1:] != document_ids[:, :-1], running[:, 1:], 0)
    return list((running - starts.cummax(dim=1).values).split(batch_size))


def unit(batches: Sequence[Batch]) -> str:
    """What one of some micro-batches is called where they are counted: a sequence, or a pass over several."""
    return "sequence" if all(len(batch.input_ids) == 1 for batch in batches) else "pass"
