"""The layer-by-layer driver: one layer's weights and one layer's autograd graph at a time.

A forward sweep without gradients keeps what goes into each layer. From the last layer to the first, each is then run
again with autograd on what was kept, under the same hooks as ever, and passes the gradient on to the one before. Layers
are the outer loop and micro-batches the inner one, so that weights which are read from disk are read twice in all,
whatever the number of micro-batches. Memory grows with tokens by one hidden state per layer boundary.

The arguments that a model hands to its layers beside the hidden states (masks, rotary embeddings) are taken from the
model itself: its decoder runs once per micro-batch with layers that only note how they are called.
"""

import ctypes
import os
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from sinkscope.analysis.drivers.boundary import Boundary, InMemory, OnDisk
from sinkscope.analysis.drivers.resident import sweeper
from sinkscope.analysis.journal import Journal, Saved, restore
from sinkscope.capture.micro_batch import MicroBatch
from sinkscope.capture.recorder import Recorder
from sinkscope.capture.scope import Scope
from sinkscope.errors import SinkscopeError
from sinkscope.launch.interrupts import Interrupts, postponed_interrupts
from sinkscope.loading.streamed import EMBEDDING, HEAD, Held, Weights
from sinkscope.models.taps.attention_tap import Observer, tapped
from sinkscope.names import LAYER_BY_LAYER
from sinkscope.names import STREAMED as STREAMED
from sinkscope.passes.batches import Batch, target_counts
from sinkscope.passes.output_head import head_losses
from sinkscope.passes.progress import with_progress
from sinkscope.sites import Site

STATE, GRADIENT = "state", "gradient"


@dataclass(frozen=True)
class Call:
    """How a decoder calls one of its layers: everything but the hidden states."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]

    def of(self, layer: nn.Module, hidden: Tensor) -> Tensor:
        """The layer's output for some hidden states."""
        output = layer(hidden, *self.args, **self.kwargs)
        result: Tensor = output[0] if isinstance(output, tuple) else output
        return result


class Layerwise:
    """Drives a model layer by layer.

    Args:
        model: frozen and in eval mode; in memory, or a skeleton whose weights come from `weights`.
        weights: brings them; by default the model is in memory.
        spill: a folder for the boundary states; by default they are kept in memory.
        progress: show a progress bar on stderr.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        weights: Weights | None = None,
        *,
        spill: Path | None = None,
        progress: bool = False,
    ) -> None:
        self.model = model
        self.weights: Weights = weights or Held(model)
        self.device = self.weights.device
        self.name = LAYER_BY_LAYER if isinstance(self.weights, Held) else STREAMED
        self.spill = spill
        self.progress = progress

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
        kept = self._boundary(None if journal is None else f"sinkscope-{journal.digest}-{journal.part}")
        interrupted = False
        try:
            pass_ = _Pass(self.model, self.weights, scope, batches, kept, self.progress)
            with postponed_interrupts("layer") if journal else nullcontext() as interrupts:
                log = _Log(journal, interrupts, scope.recorder)
                return pass_.forward_backward(log) if scope.settings.backward else pass_.forward(log)
        except KeyboardInterrupt:
            interrupted = True
            raise
        finally:
            if journal is None or not interrupted:  # what was spilled is left for whoever resumes
                kept.close()

    def complete(self, scope: Scope, batches: list[Batch], missing: dict[int, Tensor]) -> None:
        """Takes column sums in one more forward sweep, as far as the last layer that lacks some.

        Args:
            scope: whose recorder is completed.
            batches: the same as before.
            missing: the columns by layer, int64.
        """
        with closing(self._boundary(None)) as kept:
            _Pass(self.model, self.weights, scope, batches, kept, self.progress).complete(missing)

    def _boundary(self, name: str | None) -> Boundary:
        return InMemory() if self.spill is None else OnDisk(self.spill, name)


class _Log:
    """What a pass tells its journal, if there is one.

    Args:
        journal: the journal.
        interrupts: those that wait for the end of a layer.
        recorder: what is saved.
    """

    def __init__(self, journal: Journal | None, interrupts: Interrupts | None, recorder: Recorder) -> None:
        self.journal = journal
        self.interrupts = interrupts
        self.recorder = recorder

    def load(self) -> Saved | None:
        """What there is to go on from; the recorder has it afterwards."""
        saved = None if self.journal is None else self.journal.load()
        if saved is not None:
            restore(self.recorder, saved)
        return saved

    def save(self, done: int, losses: list[float], frontier: dict[str, Tensor], *, last: bool = False) -> None:
        """Saves, if it is time to; lets an interrupt through afterwards.

        Args:
            done: steps that are done.
            losses: of the sequences, where they are known.
            frontier: the boundary tensors of all micro-batches that the next step starts from.
            last: whether this was the last step, whose state an older one must not outlive.
        """
        if self.journal is None or self.interrupts is None:
            return
        force = self.interrupts.wanted or (last and self.journal.begun)
        self.journal.save(self.recorder, done, losses, frontier, force=force)
        self.interrupts.deliver()


class _Pass:
    """One analysis of some micro-batches."""

    def __init__(
        self,
        model: PreTrainedModel,
        weights: Weights,
        scope: Scope,
        batches: list[Batch],
        kept: Boundary,
        progress: bool,
    ) -> None:
        self.model = model
        self.weights = weights
        self.scope = scope
        self.batches = batches
        self.kept = kept
        self.progress = progress
        self.layers = scope.family.decoder_layers(model)
        self.calls: list[list[Call]] = []  # by micro-batch and layer

    def forward_backward(self, log: _Log) -> list[float]:
        """Both sweeps; statistics are taken in the second. The head is step 1, and each layer's way back another."""
        saved = log.load()
        done, losses = (saved.done, saved.losses) if saved else (0, [])
        micro, last = self._micro_batches(), len(self.layers) - 1
        following = last - max(done - 1, 0)  # the layer whose way back comes next
        with tapped(self.model, {}), torch.no_grad():
            self._embed()
            for layer in with_progress(list(range(following if done else last + 1)), "forward", self.progress):
                self._forward(layer, micro)
                if not done:
                    log.save(0, [], {})
        if saved is not None and done:
            self._put_back(saved, GRADIENT, following + 1)
        else:
            with self.weights.loaded(HEAD, last):
                losses = [loss for number, batch in enumerate(micro) for loss in self._head(number, batch)]
            done = 1
            log.save(done, losses, self._frontier(GRADIENT, last + 1))
        for layer in with_progress(list(range(last, -1, -1)), "backward", self.progress, last - following):
            with self.weights.loaded(layer, layer - 1 if layer else None):
                with self.scope as scope:
                    for number, batch in enumerate(micro):
                        scope.hooks.batch = batch
                        self._backward(layer, number)
                self._complete(layer)
            self.scope.recorder.settle(layer)
            self._drop(layer)
            done += 1
            log.save(done, losses, self._frontier(GRADIENT, layer), last=layer == 0)
        return losses

    def forward(self, log: _Log) -> list[float]:
        """One sweep, with statistics. Each layer is a step."""
        saved = log.load()
        micro, last, done = self._micro_batches(), len(self.layers) - 1, saved.done if saved else 0
        with torch.no_grad():
            with tapped(self.model, {}):
                self._embed()
            self._put_back(saved, STATE, done)
            for layer in with_progress(list(range(last + 1)), "measuring", self.progress, done):
                with self.weights.loaded(layer, layer + 1 if layer < last else HEAD):
                    with self.scope as scope:
                        for number, batch in enumerate(micro):
                            scope.hooks.batch = batch
                            output = self._run(layer, number, self._state(layer, number))
                            self.kept.put((STATE, layer + 1, number), output)
                            scope.hooks.check_finite()
                    self._complete(layer)
                self._drop(layer)
                done += 1
                log.save(done, [], self._frontier(STATE, done), last=layer == last)
            with self.weights.loaded(HEAD):
                return [loss for number, batch in enumerate(micro) for loss in self._head(number, batch)]

    def complete(self, missing: dict[int, Tensor]) -> None:
        """A forward sweep that takes column sums only."""
        for layer, columns in missing.items():
            self.scope.recorder.heads[layer].forget(columns)
        with torch.no_grad():
            with tapped(self.model, {}):
                self._embed()
            for layer in with_progress(list(range(max(missing) + 1)), "completing sinks", self.progress):
                observers = {self._attention(layer): self._sweep(layer, missing[layer])} if layer in missing else {}
                with self.weights.loaded(layer, layer + 1), tapped(self.model, observers):
                    for number in range(len(self.batches)):
                        state = self._run(layer, number, self._state(layer, number))
                        self.kept.put((STATE, layer + 1, number), state)
                self._drop(layer)

    def _embed(self) -> None:
        """Keeps what goes into the first layer, and how every layer is called."""
        with self.weights.loaded(EMBEDDING, 0):
            for number, batch in enumerate(self.batches):
                hidden, calls = calls_of(self.model, self.layers, batch, self.weights.device)
                self.kept.put((STATE, 0, number), hidden)
                self.calls.append(calls)

    def _micro_batches(self) -> list[MicroBatch]:
        """The recorder's forward passes: those of a state that was read back, or new ones."""
        recorder = self.scope.recorder
        return recorder.batches or [recorder.begin(len(batch.input_ids), batch.input_ids) for batch in self.batches]

    def _frontier(self, what: str, layer: int) -> dict[str, Tensor]:
        """What the step after a layer starts from, by micro-batch."""
        return {str(number): self.kept.get((what, layer, number)) for number in range(len(self.batches))}

    def _put_back(self, saved: Saved | None, what: str, layer: int) -> None:
        """Keeps the frontier of a saved state."""
        for number, x in saved.tensors.items() if saved else ():
            self.kept.put((what, layer, int(number)), x)

    def _forward(self, layer: int, micro: list[MicroBatch]) -> None:
        """One layer of the first sweep, as far as it was not spilled before."""
        if all(self.kept.has((STATE, layer + 1, number)) for number in range(len(micro))):
            return
        with self.weights.loaded(layer, layer + 1 if layer + 1 < len(self.layers) else HEAD):
            for number, batch in enumerate(micro):
                self._forward_one(layer, number, batch)
        give_back()

    def _forward_one(self, layer: int, number: int, batch: MicroBatch) -> None:
        output = self._run(layer, number, self._state(layer, number))
        if not bool(output.isfinite().all()):
            self._tell_non_finite(layer, number, batch)
        self.kept.put((STATE, layer + 1, number), output)

    def _head(self, number: int, batch: MicroBatch) -> list[float]:
        """Mean losses of a micro-batch, and the gradient at the last layer's output."""
        recorder, family = self.scope.recorder, self.scope.family
        backward = recorder.settings.backward
        hidden = self._state(len(self.layers), number).requires_grad_(backward)
        with torch.set_grad_enabled(backward):
            if family.final_norm is not None:
                recorder.activation(recorder.layers - 1, Site.FINAL_IN, batch, hidden)
            normed = hidden
            for module in family.behind_layers(self.model):
                normed = module(normed)
            result = head_losses(self.model, normed, self.batches[number], backward=backward)
            if result.gradient is not None:
                normed.backward(result.gradient)
        if hidden.grad is not None:
            self.kept.put((GRADIENT, len(self.layers), number), hidden.grad)
        return (result.losses / target_counts(self.batches[number]).to(result.losses.device)).tolist()

    def _backward(self, layer: int, number: int) -> None:
        """One layer of the second sweep, for one micro-batch."""
        hidden = self._state(layer, number).requires_grad_()
        output = self._run(layer, number, hidden)
        gradient = self.kept.get((GRADIENT, layer + 1, number)).to(output.device)
        output.backward(gradient)
        assert hidden.grad is not None  # noqa: S101  (every layer has a residual path)
        self.kept.put((GRADIENT, layer, number), hidden.grad)

    def _complete(self, layer: int) -> None:
        """Column sums of sinks that earlier micro-batches of this layer did not know of, while its weights are here."""
        heads = self.scope.recorder.heads[layer]
        columns = heads.incomplete()
        if not len(columns):
            return
        heads.forget(columns)
        with tapped(self.model, {self._attention(layer): self._sweep(layer, columns)}), torch.no_grad():
            for number in range(len(self.batches)):
                self._run(layer, number, self._state(layer, number))

    def _drop(self, layer: int) -> None:
        """Forgets what is not needed once a layer is done."""
        for number in range(len(self.batches)):
            self.kept.drop((STATE, layer, number))
            self.kept.drop((GRADIENT, layer + 1, number))
        give_back()

    def _tell_non_finite(self, layer: int, number: int, batch: MicroBatch) -> None:
        """Runs the layer once more under the hooks, which know where it happened."""
        with self.scope as scope, torch.no_grad():
            scope.hooks.batch = batch
            self._run(layer, number, self._state(layer, number))
            scope.hooks.check_finite()
        raise SinkscopeError(f"non-finite activations in layer {layer}: try `dtype=float32` or bfloat16")

    def _run(self, layer: int, number: int, hidden: Tensor) -> Tensor:
        return self.calls[number][layer].of(self.layers[layer], hidden)

    def _state(self, layer: int, number: int) -> Tensor:
        return self.kept.get((STATE, layer, number)).to(self.weights.device).detach()

    def _attention(self, layer: int) -> nn.Module:
        return self.layers[layer].get_submodule(self.scope.family.attention)

    def _sweep(self, layer: int, columns: Tensor) -> Observer:
        return sweeper(self.scope.recorder.heads[layer].sweep, columns)


class _NotedError(Exception):
    """Raised in place of the last layer, where everything worth knowing is known."""


def calls_of(
    model: PreTrainedModel, layers: list[nn.Module], batch: Batch, device: torch.device
) -> tuple[Tensor, list[Call]]:
    """What a decoder hands to its layers.

    Args:
        model: only what stands before its layers has to be in memory.
        layers: its decoder layers.
        batch: what it reads.
        device: where.

    Returns:
        The hidden states [B, T, D] that enter the first layer, and how each layer is called.

    Raises:
        SinkscopeError: if layers are handed something that depends on what the layers before them computed.
    """
    for returns_tuple in (False, True):
        noted: list[tuple[Tensor, Call]] = []
        with ExitStack() as stack:
            for layer in layers:
                stack.enter_context(_noting(layer, noted, len(layers), returns_tuple))
            try:
                positions = None if batch.positions is None else batch.positions.to(device)
                model(input_ids=batch.input_ids.to(device), position_ids=positions, use_cache=False)
            except _NotedError:
                pass
            except (IndexError, RuntimeError, TypeError, ValueError):  # what a tuple was expected from
                continue
        first = noted[0][0]
        if len(noted) == len(layers) and all(hidden is first for hidden, _ in noted):
            return first, [call for _, call in noted]
    raise SinkscopeError(f"the layers of {type(model).__name__} cannot be run one by one: use the resident driver")


@contextmanager
def _noting(layer: nn.Module, noted: list[tuple[Tensor, Call]], count: int, returns_tuple: bool) -> Iterator[None]:
    """Makes a layer note how it is called, and hand its input on."""

    def forward(hidden: Tensor, *args: Any, **kwargs: Any) -> Any:
        noted.append((hidden, Call(args, kwargs)))
        if len(noted) == count:
            raise _NotedError
        return (hidden,) if returns_tuple else hidden

    with mock.patch.object(layer, "forward", forward):
        yield


def give_back() -> None:
    """Returns freed memory to the operating system.

    glibc keeps what was freed between the few small tensors that outlive a layer, and asks for more all the same:
    without this, memory grows from layer to layer. Other C libraries have no such call and do nothing here.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if os.name == "posix" else None
    if trim is not None:
        trim(0)
