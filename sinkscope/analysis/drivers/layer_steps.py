"""What can be done with one layer of a model whose weights may not be in memory: each is a step of some sweep.

A step takes the states that went into a layer from where they are kept, runs the layer on them, and keeps what comes
out. Who loads the weights, and in which order steps are taken, is a sweep's business (`drivers.sweeps`).
"""

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from sinkscope.analysis.drivers.boundary import Boundary
from sinkscope.analysis.drivers.resident import sweeper
from sinkscope.analysis.journal import Saved
from sinkscope.capture.micro_batch import MicroBatch
from sinkscope.capture.scope import Scope
from sinkscope.compat.layer_calls import LayerCall, calls_of
from sinkscope.errors import SinkscopeError
from sinkscope.heap import give_back
from sinkscope.loading.streamed import EMBEDDING, HEAD, Weights
from sinkscope.models.taps.attention_tap import Observer, tapped
from sinkscope.passes.batches import Batch, target_counts
from sinkscope.passes.finite import reason, refuse_losses
from sinkscope.passes.output_head import head_losses
from sinkscope.sites import Site

STATE, GRADIENT = "state", "gradient"


class LayerSteps:
    """The steps of one analysis of some micro-batches.

    Args:
        model: frozen and in eval mode, or a skeleton.
        weights: brings the model's weights.
        scope: records.
        batches: what the model reads.
        kept: holds what went into each layer (`STATE`), and the gradient there (`GRADIENT`), by micro-batch.
    """

    def __init__(
        self, model: PreTrainedModel, weights: Weights, scope: Scope, batches: list[Batch], kept: Boundary
    ) -> None:
        self.model = model
        self.weights = weights
        self.scope = scope
        self.batches = batches
        self.kept = kept
        self.layers = scope.family.decoder_layers(model)
        self.calls: list[list[LayerCall]] = []  # by micro-batch and layer

    def micro_batches(self) -> list[MicroBatch]:
        """The recorder's forward passes: those of a state that was read back, or new ones."""
        recorder = self.scope.recorder
        return recorder.batches or [recorder.begin(len(batch.input_ids), batch.input_ids) for batch in self.batches]

    def embed(self) -> None:
        """Keeps what goes into the first layer, and how every layer is called."""
        device = self.weights.device
        with self.weights.loaded(EMBEDDING, 0):
            for number, batch in enumerate(self.batches):
                positions = None if batch.positions is None else batch.positions.to(device)
                hidden, calls = calls_of(self.model, self.layers, batch.input_ids.to(device), positions)
                if not bool(hidden.isfinite().all()):
                    raise SinkscopeError(f"the embeddings are not finite: {reason(self.model)}")
                self.kept.put((STATE, 0, number), hidden)
                self.calls.append(calls)

    def forward(self, layer: int, micro: list[MicroBatch]) -> None:
        """Runs a layer without hooks, as far as what comes out was not spilled before."""
        if all(self.kept.has((STATE, layer + 1, number)) for number in range(len(micro))):
            return
        with self.weights.loaded(layer, layer + 1 if layer + 1 < len(self.layers) else HEAD):
            for number, batch in enumerate(micro):
                output = self.run(layer, number)
                if not bool(output.isfinite().all()):
                    self._report_non_finite(layer, number, batch)
                self.kept.put((STATE, layer + 1, number), output)
        give_back()

    def head(self, number: int, batch: MicroBatch) -> list[float]:
        """Mean losses of a micro-batch; keeps the gradient at the last layer's output."""
        recorder, family = self.scope.recorder, self.scope.family
        backward = recorder.settings.backward
        hidden = self._state(len(self.layers), number).requires_grad_(backward)
        with torch.set_grad_enabled(backward):
            if family.final_norm is not None:
                recorder.activation(recorder.layers - 1, Site.FINAL_IN, batch, hidden)
            normed = hidden
            for module in family.behind_layers(self.model):
                normed = module(normed)
            if not bool(normed.isfinite().all()):
                raise SinkscopeError(f"the final hidden states are not finite: {reason(self.model)}")
            result = head_losses(self.model, normed, self.batches[number], backward=backward)
            refuse_losses(result.losses, self.model)
            if result.gradient is not None:
                normed.backward(result.gradient)
        if hidden.grad is not None:
            self.kept.put((GRADIENT, len(self.layers), number), hidden.grad)
        return (result.losses / target_counts(self.batches[number]).to(result.losses.device)).tolist()

    def backward(self, layer: int, number: int) -> None:
        """Runs a layer with autograd, and keeps the gradient at its input."""
        hidden = self._state(layer, number).requires_grad_()
        output = self.run(layer, number, hidden)
        gradient = self.kept.get((GRADIENT, layer + 1, number)).to(output.device)
        output.backward(gradient)
        assert hidden.grad is not None  # noqa: S101  (every layer has a residual path)
        self.kept.put((GRADIENT, layer, number), hidden.grad)

    def run(self, layer: int, number: int, hidden: Tensor | None = None) -> Tensor:
        """A layer's output for the state that was kept for it, or for `hidden` in its place."""
        hidden = self._state(layer, number) if hidden is None else hidden
        return self.calls[number][layer].of(self.layers[layer], hidden)

    def complete(self, layer: int) -> None:
        """Column sums of sinks that earlier micro-batches of this layer did not know of, while its weights are here."""
        recorder = self.scope.recorder
        lacking = recorder.lacking({layer: recorder.heads[layer].incomplete()})
        with torch.no_grad():
            for number, columns in lacking.items():
                self.swept(layer, number, columns.get(layer))

    def swept(self, layer: int, number: int, columns: Tensor | None) -> Tensor:
        """A layer's output for a micro-batch, whose column sums are taken at `columns` on the way; None for at none."""
        attention = self.layers[layer].get_submodule(self.scope.family.attention)
        heads = self.scope.recorder.heads[layer]
        observers: dict[nn.Module, Observer] = {} if columns is None else {attention: sweeper(heads.sweep, columns)}
        with tapped(self.model, observers):
            return self.run(layer, number)

    def frontier(self, what: str, layer: int) -> dict[str, Tensor]:
        """What the step after a layer starts from, by micro-batch."""
        return {str(number): self.kept.get((what, layer, number)) for number in range(len(self.batches))}

    def put_back(self, saved: Saved | None, what: str, layer: int) -> None:
        """Keeps the frontier of a saved state."""
        for number, x in saved.tensors.items() if saved else ():
            self.kept.put((what, layer, int(number)), x)

    def drop(self, layer: int) -> None:
        """Forgets what is not needed once a layer is done."""
        for number in range(len(self.batches)):
            self.kept.drop((STATE, layer, number))
            self.kept.drop((GRADIENT, layer + 1, number))
        give_back()

    def _state(self, layer: int, number: int) -> Tensor:
        return self.kept.get((STATE, layer, number)).to(self.weights.device).detach()

    def _report_non_finite(self, layer: int, number: int, batch: MicroBatch) -> None:
        """Runs the layer once more under the hooks, which know where it happened."""
        with self.scope as scope, torch.no_grad():
            scope.hooks.at(batch)
            self.run(layer, number)
            scope.hooks.check_finite()
        raise SinkscopeError(f"non-finite activations in layer {layer}: try `dtype=float32` or bfloat16")
