"""The resident driver: one forward and one backward per micro-batch, with the whole model in memory.

No weight gradient is needed, so every parameter is frozen while the driver runs: backward then costs about as much as
forward and holds no parameter gradients. Each micro-batch backpropagates the sum of its losses and the captured
gradients are divided by the run's number of targets at the end; this makes the result independent of the batch size and
keeps 16-bit gradients away from underflow.
"""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from sinkscope.capture.passes import (
    Batch,
    batches_of,
    check_windows,
    frozen,
    input_device,
    loss_sums,
    memory_told,
    shown,
    target_counts,
)
from sinkscope.capture.scope import Scope
from sinkscope.models.attention import AttentionCall, tapped
from sinkscope.settings import Settings
from sinkscope.tables.store import Run
from sinkscope.text.packing import windows_sha256


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
    check_windows(model, input_ids, batch_size)
    batches = batches_of(input_ids, document_ids, batch_size)
    count = sum(int(target_counts(batch).sum()) for batch in batches)
    scope = Scope(model, settings, tokenizer)
    losses: list[float] = []
    with frozen(model), memory_told(batch_size):
        with scope:
            for batch in shown(batches, "measuring", progress):
                losses += _forward_backward(model, batch, settings.backward)
        _complete_columns(model, scope, batches, progress)
    run = scope.run(divisor=count, losses=losses)
    data = {
        "sha256": windows_sha256(input_ids),
        "isolated_documents": document_ids is not None,
        "targets": count,
    }
    return Run(
        {
            **run.info,
            "data": {**run.info["data"], **data},
            "settings": {**run.info["settings"], "batch_size": batch_size},
        },
        run.tables,
    )


def _forward_backward(model: PreTrainedModel, batch: Batch, backward: bool) -> list[float]:
    """One micro-batch: backpropagates the sum of its losses and returns each sequence's mean loss in nats."""
    with torch.set_grad_enabled(backward):
        sums = loss_sums(model, batch)
        if backward:
            sums.sum().backward()
    return (sums.detach() / target_counts(batch).to(sums.device)).tolist()


def _complete_columns(model: PreTrainedModel, scope: Scope, batches: list[Batch], progress: bool) -> None:
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
    device = input_device(model)
    with tapped(model, observers), torch.no_grad():
        for ids, _, positions in shown(batches, "completing sinks", progress):
            positions = None if positions is None else positions.to(device)
            model(input_ids=ids.to(device), position_ids=positions, use_cache=False, logits_to_keep=1)


def _sweeper(sweep: Any, columns: Tensor) -> Any:
    def observe(call: AttentionCall) -> None:
        sweep(replace(call, y=call.y.detach()), columns)

    return observe
