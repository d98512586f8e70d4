"""The resident driver: one forward and one backward per micro-batch, with the whole model in memory.

No weight gradient is needed, so every parameter is frozen while the driver runs: backward then costs about as much as
forward and holds no parameter gradients. Each micro-batch backpropagates the sum of its losses and the captured
gradients are divided by the run's number of targets at the end; this makes the result independent of the batch size and
keeps 16-bit gradients away from underflow.
"""

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor
from transformers import PreTrainedModel

from sinkscope.analysis.journal import Journal, restore
from sinkscope.capture.scope import Scope
from sinkscope.launch.interrupts import postponed_interrupts
from sinkscope.models.families import family_of
from sinkscope.models.first_layers import first_layers
from sinkscope.models.taps.attention_tap import AttentionCall, Observer, tapped
from sinkscope.names import RESIDENT
from sinkscope.passes.batches import Batch, target_counts, unit
from sinkscope.passes.decoder_pass import decoder_pass
from sinkscope.passes.finite import refuse_losses
from sinkscope.passes.modes import input_device
from sinkscope.passes.output_head import head_losses
from sinkscope.progress.display import counted


class Resident:
    """Drives a model that is in memory as a whole.

    Args:
        model: frozen and in eval mode.
    """

    name = RESIDENT

    def __init__(self, model: PreTrainedModel) -> None:
        self.model = model
        self.device = input_device(model)

    def sweep(self, scope: Scope, batches: list[Batch], journal: Journal | None = None) -> list[float]:
        """Runs every micro-batch forward, and backward where gradients are measured.

        Args:
            scope: records, entered by this method.
            batches: what to run.
            journal: keeps the state after each micro-batch, and may hold one to go on from.

        Returns:
            Each sequence's mean loss in nats.
        """
        if journal is not None:
            return self._resumable(scope, batches, journal)
        losses: list[float] = []
        with scope:
            for batch in counted(batches, unit(batches)):
                losses += self._forward_backward(batch, scope.settings.backward)
        return losses

    def _resumable(self, scope: Scope, batches: list[Batch], journal: Journal) -> list[float]:
        """The same after the micro-batches that a journal knows to be done."""
        saved = journal.load()
        losses: list[float] = []
        done = 0
        if saved is not None:
            restore(scope.recorder, saved)
            losses, done = saved.losses, saved.done
        with scope, postponed_interrupts("micro-batch") as interrupts:
            for batch in counted(batches, unit(batches), done):
                losses += self._forward_backward(batch, scope.settings.backward)
                done += 1
                journal.save(
                    scope.recorder, done, losses, force=interrupts.wanted or (done == len(batches) and journal.begun)
                )
                interrupts.deliver()
        return losses

    def complete(self, scope: Scope, batches: list[Batch], missing: dict[int, Tensor]) -> None:
        """Takes column sums that some micro-batches lack, in one more forward pass through the layers concerned.

        Args:
            scope: whose recorder is completed.
            batches: the same as before.
            missing: the columns by layer, int64.
        """
        lacking = scope.recorder.lacking(missing)
        attention = [layer.get_submodule(scope.family.attention) for layer in scope.family.decoder_layers(self.model)]
        for number in counted(list(lacking), f"completing sinks: {unit(batches)}"):
            observers = {
                attention[layer]: sweeper(scope.recorder.heads[layer].sweep, columns)
                for layer, columns in lacking[number].items()
            }
            # The layers that follow those concerned are not run.
            with first_layers(self.model, max(lacking[number]) + 1), tapped(self.model, observers), torch.no_grad():
                decoder_pass(self.model, batches[number])

    def _forward_backward(self, batch: Batch, backward: bool) -> list[float]:
        """One micro-batch: backpropagates the sum of its losses and returns each sequence's mean loss in nats."""
        device = input_device(self.model)
        positions = None if batch.positions is None else batch.positions.to(device)
        with torch.set_grad_enabled(backward):
            decoded = family_of(self.model).decoder(self.model)(
                input_ids=batch.input_ids.to(device), position_ids=positions, use_cache=False
            )
            hidden = decoded.last_hidden_state
            losses, gradient = head_losses(self.model, hidden, batch, backward=backward)
            refuse_losses(losses, self.model)
            if gradient is not None:
                hidden.backward(gradient)
        return (losses / target_counts(batch).to(losses.device)).tolist()


def sweeper(sweep: Callable[[AttentionCall, Tensor], None], columns: Tensor) -> Observer:
    """An attention observer that hands each call to `HeadStatistics.sweep`."""

    def observe(call: AttentionCall) -> None:
        sweep(replace(call, y=call.y.detach()), columns)

    return observe
