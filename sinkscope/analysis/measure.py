"""Measuring a model on windows of text: windows in, run out. How the passes are made is a driver's business.

A driver sees every micro-batch through the model inside a `Scope`: `drivers.resident` with the whole model and the
whole graph of a micro-batch in memory, `drivers.layer_by_layer` with one layer's.
"""

from typing import Protocol

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from sinkscope.analysis.drivers.resident import Resident
from sinkscope.analysis.journal import Journal
from sinkscope.analysis.processes import merge, sinks_of_all
from sinkscope.analysis.trial import TABLES
from sinkscope.capture.scope import Scope
from sinkscope.capture.settings import Settings
from sinkscope.errors import RequestError, SinkscopeError
from sinkscope.launch.group import Processes
from sinkscope.models.taps.experts_tap import computed_alike
from sinkscope.passes.batches import Batch, batches_of, check_isolation, check_windows, target_counts
from sinkscope.passes.memory import explained_memory_errors, peak_memory
from sinkscope.passes.modes import frozen, plain_torch
from sinkscope.progress.display import stage
from sinkscope.tables.run_folder import Run
from sinkscope.text.packing import windows_sha256


class Driver(Protocol):
    """Makes the passes of a measurement."""

    @property
    def name(self) -> str:
        """What run.json calls it."""

    @property
    def device(self) -> torch.device:
        """Where the passes are made."""

    def sweep(self, scope: Scope, batches: list[Batch], journal: Journal | None = None) -> list[float]:
        """Runs every micro-batch through the scope; returns each sequence's mean loss in nats.

        Where there is a journal, it goes on from the state in it, and keeps its own there.
        """

    def complete(self, scope: Scope, batches: list[Batch], missing: dict[int, Tensor]) -> None:
        """Takes the column sums, by layer, of sinks that earlier micro-batches did not know of."""


def measure(
    model: PreTrainedModel,
    input_ids: Tensor,
    *,
    settings: Settings,
    batch_size: int,
    document_ids: Tensor | None = None,
    tokenizer: PreTrainedTokenizerBase | None = None,
    driver: Driver | None = None,
    journal: Journal | None = None,
    processes: Processes | None = None,
) -> Run:
    """Measures a model on windows of text.

    Args:
        model: a causal LM of a known family.
        input_ids: token ids [N, T], without padding.
        settings: what to measure.
        batch_size: sequences per forward pass; the numbers do not depend on it.
        document_ids: documents [N, T] that shall not attend to each other; None lets packed windows attend across.
        tokenizer: names the tokens in the tables.
        driver: makes the passes; by default `Resident`.
        journal: keeps the state of the measurement on disk; it belongs to this request alone.
        processes: share the windows, which are the same in all, and all return the run; None for this one alone.

    Raises:
        SinkscopeError: if the windows do not fit the model or memory, or something is not finite.
    """
    check_windows(model, input_ids, batch_size)
    if document_ids is not None:
        check_isolation(model)
    sha256 = windows_sha256(input_ids)
    targets = [n for batch in batches_of(input_ids, document_ids, batch_size) for n in target_counts(batch).tolist()]
    if not any(targets):
        raise RequestError("no window has a token to predict: every isolated document in them is a single token")
    share = slice(None)
    if processes is not None:
        processes.agree(sha256, "the processes read different windows: is the text the same for all of them?")
        share = processes.share(len(input_ids))
    documents = None if document_ids is None else document_ids[share]
    batches = batches_of(input_ids[share], documents, batch_size)
    driver = driver or Resident(model)
    first = None if processes is None else share.start
    scope = Scope(model, settings, tokenizer, driver.device, first_sequence=first)
    scope.recorder.sequences = sum(len(batch.input_ids) for batch in batches)
    if settings.backward and any(parameter.is_inference() for parameter in model.parameters()):
        raise SinkscopeError(
            "the model was made in torch's inference mode, and no gradient passes it: load it outside, or use "
            "`backward=False`"
        )
    with plain_torch(driver.device), frozen(model), explained_memory_errors(batch_size), computed_alike(model):
        losses = driver.sweep(scope, batches, journal)
        elsewhere = {} if processes is None else sinks_of_all(processes, scope.recorder)
        missing = scope.recorder.incomplete(elsewhere)
        if missing:
            driver.complete(scope, batches, missing)
    stage(TABLES)
    if processes is None:
        run = scope.run(divisor=sum(targets), losses=losses, targets=targets)
    else:
        run = _merged(processes, scope, losses, targets)
    data = {
        "sha256": sha256,
        "isolated_documents": document_ids is not None,
        "targets": sum(targets),
    }
    return Run(
        {
            **run.info,
            "data": {**run.info["data"], **data},
            "settings": {**run.info["settings"], "batch_size": batch_size},
            "driver": driver.name,
            "processes": 1 if processes is None else processes.count,
        },
        run.tables,
    )


def _merged(processes: Processes, scope: Scope, losses: list[float], targets: list[int]) -> Run:
    """The run of all processes, from their recorders."""
    everyones = [loss for of_process in processes.exchange(losses) for loss in of_process]
    peak = max(processes.exchange(peak_memory(scope.device)))
    merge(processes, scope.recorder)
    run = processes.from_first(lambda: scope.run(divisor=sum(targets), losses=everyones, targets=targets))
    return Run({**run.info, "peak_memory_bytes": peak}, run.tables)
