"""The layer-by-layer driver: one layer's weights and one layer's autograd graph at a time.

A forward sweep without gradients keeps what goes into each layer. From the last layer to the first, each is then run
again with autograd on what was kept, under the same hooks as ever, and passes the gradient on to the one before. Layers
are the outer loop and micro-batches the inner one, so that weights which are read from disk are read twice in all,
whatever the number of micro-batches. Memory grows with tokens by one hidden state per layer boundary.

The arguments that a model hands to its layers beside the hidden states (masks, rotary embeddings) are taken from the
model itself (`compat.layer_calls`): its decoder runs once per micro-batch with layers that only note how they are
called.
"""

from contextlib import closing, nullcontext
from pathlib import Path

from torch import Tensor
from transformers import PreTrainedModel

from sinkscope.analysis.drivers.boundary import Boundary, InMemory
from sinkscope.analysis.drivers.layer_steps import LayerSteps
from sinkscope.analysis.drivers.saving import Saving
from sinkscope.analysis.drivers.spilled import OnDisk
from sinkscope.analysis.drivers.sweeps import backward_sweeps, completing_sweep, forward_sweep
from sinkscope.analysis.journal import Journal
from sinkscope.capture.scope import Scope
from sinkscope.launch.interrupts import postponed_interrupts
from sinkscope.loading.streamed import Held, Weights
from sinkscope.names import LAYER_BY_LAYER, STREAMED
from sinkscope.passes.batches import Batch


class LayerByLayer:
    """Drives a model layer by layer.

    Args:
        model: frozen and in eval mode; in memory, or a skeleton whose weights come from `weights`.
        weights: brings them; by default the model is in memory.
        spill: a folder for the boundary states; by default they are kept in memory.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        weights: Weights | None = None,
        *,
        spill: Path | None = None,
    ) -> None:
        self.model = model
        self.weights: Weights = weights or Held(model)
        self.device = self.weights.device
        self.name = LAYER_BY_LAYER if isinstance(self.weights, Held) else STREAMED
        self.spill = spill

    def sweep(self, scope: Scope, batches: list[Batch], journal: Journal | None = None) -> list[float]:
        """Runs every micro-batch forward, and backward where gradients are measured.

        Args:
            scope: records.
            batches: what to run.
            journal: keeps the state after each layer, and may hold one to go on from. The inputs of the layers that are
                still to come are computed again then, unless they were spilled.

        Returns:
            Each sequence's mean loss in nats.

        Raises:
            SinkscopeError: if something is not finite, or the model's layers cannot be called one by one.
        """
        kept = self._boundary(journal)
        interrupted = False
        try:
            steps = LayerSteps(self.model, self.weights, scope, batches, kept)
            with postponed_interrupts("layer") if journal else nullcontext() as interrupts:
                saving = Saving(journal, interrupts, scope.recorder)
                sweeps = backward_sweeps if scope.settings.backward else forward_sweep
                return sweeps(steps, saving)
        except KeyboardInterrupt:
            interrupted = True
            raise
        finally:
            if interrupted:
                kept.leave()  # for whoever resumes
            else:
                kept.close()
                if journal is not None:
                    journal.discard_if_empty()

    def complete(self, scope: Scope, batches: list[Batch], missing: dict[int, Tensor]) -> None:
        """Takes column sums that some micro-batches lack, in one more forward sweep as far as the last layer concerned.

        Args:
            scope: whose recorder is completed.
            batches: the same as before.
            missing: the columns by layer, int64.
        """
        with closing(self._boundary(None)) as kept:
            lacking = scope.recorder.lacking(missing)
            steps = LayerSteps(self.model, self.weights, scope, [batches[number] for number in lacking], kept)
            completing_sweep(steps, list(lacking.values()))

    def _boundary(self, journal: Journal | None) -> Boundary:
        if self.spill is None:
            return InMemory()
        if journal is None:
            return OnDisk(self.spill)
        journal.begin()  # it says where the states are, from the first on
        return OnDisk(self.spill, journal.spilled)
