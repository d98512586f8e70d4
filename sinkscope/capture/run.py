"""The resident driver: one forward and one backward per micro-batch, with the whole model in memory.

No weight gradient is needed, so every parameter is frozen while the driver runs: backward then costs about as much as
forward and holds no parameter gradients. Each micro-batch backpropagates the sum of its losses and the captured
gradients are divided by the run's number of targets at the end; this makes the result independent of the batch size and
keeps 16-bit gradients away from underflow.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, cast

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from sinkscope.capture.scope import Scope
from sinkscope.errors import SinkscopeError
from sinkscope.models.attention import AttentionCall, tapped
from sinkscope.settings import Settings
from sinkscope.tables.store import Run

IGNORED = -100


def measure(
    model: PreTrainedModel,
    input_ids: Tensor,
    *,
    settings: Settings,
    batch_size: int,
    document_ids: Tensor | None = None,
    tokenizer: PreTrainedTokenizerBase | None = None,
    progress: bool = False,
) -> Run:
    """Measures a model on windows of text.

    Args:
        model: a causal LM of a known family.
        input_ids: token ids [N, T], without padding.
        settings: what to measure.
        batch_size: sequences per forward pass; the numbers do not depend on it.
        document_ids: documents [N, T] that shall not attend to each other; None lets packed windows attend across.
        tokenizer: names the tokens in the tables.
        progress: show a progress bar on stderr.

    Raises:
        SinkscopeError: if the windows do not fit the model or memory, or something is not finite.
    """
    _check_windows(model, input_ids, batch_size)
    targets = _targets(input_ids, document_ids)
    count = int((targets != IGNORED).sum())
    scope = Scope(model, settings, tokenizer)
    losses: list[float] = []
    positions_by_batch = _positions(input_ids, document_ids, batch_size)
    batches = list(zip(input_ids.split(batch_size), targets.split(batch_size), positions_by_batch, strict=True))
    with _frozen(model), _memory_told(batch_size):
        with scope:
            for ids, target, positions in _shown(batches, "measuring", progress):
                losses += _forward_backward(model, ids, target, positions, settings.backward)
        _complete_columns(model, scope, batches, progress)
    run = scope.run(divisor=count, losses=losses)
    data = {"isolated_documents": document_ids is not None, "targets": count}
    return Run(
        {
            **run.info,
            "data": {**run.info["data"], **data},
            "settings": {**run.info["settings"], "batch_size": batch_size},
        },
        run.tables,
    )


def _forward_backward(
    model: PreTrainedModel, ids: Tensor, targets: Tensor, positions: Tensor | None, backward: bool
) -> list[float]:
    """One micro-batch: backpropagates the sum of its losses and returns each sequence's mean loss in nats."""
    device = _embedding(model).weight.device
    with torch.set_grad_enabled(backward):
        logits = model(input_ids=ids.to(device), position_ids=_on(positions, device), use_cache=False).logits
        targets = targets.to(logits.device)
        token_losses = F.cross_entropy(
            logits[:, :-1].transpose(1, 2).float(), targets[:, 1:], ignore_index=IGNORED, reduction="none"
        )
        sums = token_losses.sum(1)
        if backward:
            sums.sum().backward()
    counts = (targets[:, 1:] != IGNORED).sum(1)
    return (sums.detach() / counts).tolist()


def _complete_columns(model: PreTrainedModel, scope: Scope, batches: list[Any], progress: bool) -> None:
    """Takes the column sums of sinks that earlier micro-batches did not know of, in one more forward sweep."""
    missing = {layer: heads.incomplete() for layer, heads in scope.recorder.heads.items()}
    missing = {layer: columns for layer, columns in missing.items() if len(columns)}
    if not missing:
        return
    observers: dict[Any, Any] = {}
    for layer, columns in missing.items():
        heads = scope.recorder.heads[layer]
        heads.forget(columns)
        attention = scope.family.decoder_layers(model)[layer].get_submodule(scope.family.attention)
        observers[attention] = _sweeper(heads.sweep, columns)
    device = _embedding(model).weight.device
    with tapped(model, observers), torch.no_grad():
        for ids, _, positions in _shown(batches, "completing sinks", progress):
            model(input_ids=ids.to(device), position_ids=_on(positions, device), use_cache=False, logits_to_keep=1)


def _sweeper(sweep: Any, columns: Tensor) -> Any:
    def observe(call: AttentionCall) -> None:
        sweep(replace(call, y=call.y.detach()), columns)

    return observe


def _check_windows(model: PreTrainedModel, input_ids: Tensor, batch_size: int) -> None:
    if input_ids.dim() != 2 or not len(input_ids):
        raise SinkscopeError("there is no sequence to measure: --sequences must be at least 1", exit_code=2)
    if batch_size < 1:
        raise SinkscopeError("--batch-size must be at least 1", exit_code=2)
    if input_ids.shape[1] < 2:
        raise SinkscopeError("a sequence needs at least 2 tokens, one to predict", exit_code=2)
    context = getattr(model.config, "max_position_embeddings", None)
    if context is not None and input_ids.shape[1] > context:
        raise SinkscopeError(
            f"{input_ids.shape[1]} tokens exceed the model's context of {context}: use fewer --tokens", exit_code=2
        )
    vocabulary = len(_embedding(model).weight)
    if int(input_ids.max()) >= vocabulary or int(input_ids.min()) < 0:
        raise SinkscopeError(f"the text holds token ids outside the model's {vocabulary} embeddings: wrong tokenizer?")


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


def _on(x: Tensor | None, device: torch.device) -> Tensor | None:
    return None if x is None else x.to(device)


@contextmanager
def _frozen(model: PreTrainedModel) -> Iterator[None]:
    """Evaluation mode without parameter gradients; both are put back."""
    training, trained = model.training, [p for p in model.parameters() if p.requires_grad]
    model.eval()
    for parameter in trained:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in trained:
            parameter.requires_grad_(True)
        model.train(training)


@contextmanager
def _memory_told(batch_size: int) -> Iterator[None]:
    try:
        yield
    except torch.OutOfMemoryError as error:
        smaller = "a smaller --batch-size" if batch_size > 1 else "fewer --tokens, --dtype bfloat16 or --quantize nf4"
        raise SinkscopeError(f"the device ran out of memory: use {smaller}") from error


def _shown(items: list[Any], text: str, progress: bool) -> Iterator[Any]:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), disable=not progress, transient=True) as bar:
        yield from bar.track(items, description=text)
