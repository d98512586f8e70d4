"""What a pass over windows of text is, whatever is done on the way: its targets, positions, losses and progress bar.

Losses are next-token cross-entropies in nats, in float32 whatever the model's dtype. A window's first token, and that
of every isolated document, is predicted by nothing and is no target.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple, cast

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import PreTrainedModel

from sinkscope.errors import SinkscopeError
from sinkscope.models.families import family_of
from sinkscope.models.shape import context

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


def check_windows(model: PreTrainedModel, input_ids: Tensor, batch_size: int) -> None:
    """Refuses windows that a model cannot read.

    Raises:
        SinkscopeError: if there are none, they are too short or longer than the context, or hold unknown token ids.
    """
    if input_ids.dim() != 2 or not len(input_ids):
        raise SinkscopeError("there is no sequence to measure: --sequences must be at least 1", exit_code=2)
    if batch_size < 1:
        raise SinkscopeError("--batch-size must be at least 1", exit_code=2)
    if input_ids.shape[1] < 2:
        raise SinkscopeError("a sequence needs at least 2 tokens, one to predict", exit_code=2)
    longest = context(model.config)
    if longest is not None and input_ids.shape[1] > longest:
        raise SinkscopeError(
            f"{input_ids.shape[1]} tokens exceed the model's context of {longest}: use fewer --tokens", exit_code=2
        )
    vocabulary = len(_embedding(model).weight)
    if int(input_ids.max()) >= vocabulary or int(input_ids.min()) < 0:
        raise SinkscopeError(f"the text holds token ids outside the model's {vocabulary} embeddings: wrong tokenizer?")


def check_isolation(model: PreTrainedModel) -> None:
    """Refuses models whose attention masks do not follow restarting position ids.

    Raises:
        SinkscopeError: for such a model.
    """
    family = family_of(model)
    if not family.isolates:
        raise SinkscopeError(
            f"transformers does not keep documents apart in a `{family.model_type}`: leave out --isolate-documents",
            exit_code=2,
        )


def loss_sums(model: PreTrainedModel, batch: Batch) -> Tensor:
    """Each sequence's loss in nats, summed over its targets: float32 [B], with a graph where gradients are on."""
    device = input_device(model)
    positions = None if batch.positions is None else batch.positions.to(device)
    logits = model(input_ids=batch.input_ids.to(device), position_ids=positions, use_cache=False).logits
    # Targets move, logits stay: a slice or transpose of logits would be a copy, or a slow walk through memory.
    targets = F.pad(batch.targets[:, 1:].to(logits.device), (0, 1), value=IGNORED)
    losses = F.cross_entropy(logits.flatten(0, 1).float(), targets.flatten(), ignore_index=IGNORED, reduction="none")
    return losses.view(targets.shape).sum(1)


def target_counts(batch: Batch) -> Tensor:
    """Each sequence's number of targets, int64 [B]."""
    return (batch.targets[:, 1:] != IGNORED).sum(1)


def input_device(model: PreTrainedModel) -> torch.device:
    """Where a model reads its token ids."""
    return _embedding(model).weight.device


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


@contextmanager
def memory_told(batch_size: int) -> Iterator[None]:
    """Turns running out of memory into one line with what to try."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        smaller = "a smaller --batch-size" if batch_size > 1 else "fewer --tokens, --dtype bfloat16 or --quantize nf4"
        raise SinkscopeError(f"the device ran out of memory: use {smaller}") from error


def shown(items: list[Any], text: str, progress: bool, done: int = 0) -> Iterator[Any]:
    """The items after the first `done`, with a progress bar on stderr where `progress` is on."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), disable=not progress, transient=True) as bar:
        yield from bar.track(items[done:], description=text, total=len(items), completed=done)


def _targets(input_ids: Tensor, document_ids: Tensor | None) -> Tensor:
    """Next-token targets [N, T], aligned with the tokens themselves.

    The first token of a window, and of an isolated document, is predicted by nothing.
    """
    starts = torch.zeros_like(input_ids, dtype=torch.bool)
    starts[:, 0] = True
    if document_ids is not None:
        starts[:, 1:] = document_ids[:, 1:] != document_ids[:, :-1]
    return input_ids.masked_fill(starts, IGNORED)


def _positions(input_ids: Tensor, document_ids: Tensor | None, batch_size: int) -> list[Tensor | None]:
    """Position ids that restart with every isolated document: transformers masks documents apart by them."""
    if document_ids is None:
        return [None] * len(input_ids.split(batch_size))
    running = torch.arange(input_ids.shape[1]).expand_as(input_ids)
    starts = torch.zeros_like(running)
    starts[:, 1:] = torch.where(document_ids[:, 1:] != document_ids[:, :-1], running[:, 1:], 0)
    return list((running - starts.cummax(dim=1).values).split(batch_size))


def _embedding(model: PreTrainedModel) -> nn.Embedding:
    return cast("nn.Embedding", model.get_input_embeddings())
