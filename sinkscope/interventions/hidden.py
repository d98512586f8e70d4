"""Entries of the residual stream leaving a layer, changed on the way to the next one.

    massive   where |x| in one of some channels exceeds a threshold, x becomes zero, or a given value
    moved     the same number of entries elsewhere in the same layer: other channels, other tokens. The control.
    channel   some channels are zero for all tokens

Massive entries are found as the pass goes by: their channels, and thresholds of 100 and 1000 times the layer's median
|x|, come from a run; which tokens have one depends on the text that is read. In the control, a seeded shuffle of the
positions and as many other channels stand for the massive ones, so that there are as many entries whatever the text.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from sinkscope.interventions.attention import checked_layers
from sinkscope.models.families import family_of

Change = Callable[[Tensor], Tensor]  # the stream [B, T, D] to another one


@dataclass(frozen=True)
class LargeEntries:
    """The large entries of one layer's output.

    Attributes:
        channels: the channels that have some.
        threshold: |x| from which an entry is one.
        values: what each channel's become; None is zero.
    """

    channels: tuple[int, ...]
    threshold: float
    values: tuple[float, ...] | None = None


@dataclass
class Tally:
    """How many entries were changed.

    Attributes:
        entries: in all layers and sequences.
        sequences: that passed through the first layer of the intervention.
    """

    entries: int = 0
    sequences: int = 0
    _first: int | None = field(default=None, repr=False)

    def add(self, layer: int, hit: Tensor) -> None:
        """Counts the entries [B, T, C] of a layer."""
        self._first = layer if self._first is None else self._first
        self.entries += int(hit.sum())
        self.sequences += hit.shape[0] if layer == self._first else 0

    @property
    def mean(self) -> float:
        """Entries per sequence."""
        return self.entries / self.sequences if self.sequences else 0.0


@contextmanager
def entries_replaced(
    model: PreTrainedModel, layers: Mapping[int, LargeEntries], *, moved: int | None = None, tally: Tally | None = None
) -> Iterator[None]:
    """Replaces large entries of layers' outputs while a `with` block lasts.

    Args:
        model: a causal LM of a known family.
        layers: what is large, by layer.
        moved: replace as many others instead, by this seed.
        tally: counts what is replaced.
    """
    changes: dict[int, Change] = {}
    for layer in checked_layers(model, layers):
        large = layers[layer]
        changes[layer] = (
            _replacing(layer, large, tally) if moved is None else _replacing_elsewhere(layer, large, moved, tally)
        )
    with _changed(model, changes):
        yield


@contextmanager
def channels_zeroed(model: PreTrainedModel, layers: Mapping[int, tuple[int, ...]]) -> Iterator[None]:
    """Zeroes channels of layers' outputs while a `with` block lasts.

    Args:
        model: a causal LM of a known family.
        layers: channels by layer.
    """

    def zeroing(channels: tuple[int, ...]) -> Change:
        return lambda stream: stream.index_fill(-1, torch.tensor(channels, device=stream.device), 0)

    with _changed(model, {layer: zeroing(layers[layer]) for layer in checked_layers(model, layers) if layers[layer]}):
        yield


def other_channels(taken: tuple[int, ...], hidden_size: int, seed: int) -> tuple[int, ...]:
    """As many other channels as are taken, drawn without repetition."""
    generator = torch.Generator().manual_seed(seed)
    left = [channel for channel in torch.randperm(hidden_size, generator=generator).tolist() if channel not in taken]
    return tuple(sorted(left[: len(taken)]))


def _replacing(layer: int, large: LargeEntries, tally: Tally | None) -> Change:
    def change(stream: Tensor) -> Tensor:
        channels = torch.tensor(large.channels, device=stream.device)
        entries = stream.index_select(-1, channels)
        hit = entries.abs() > large.threshold
        if tally is not None:
            tally.add(layer, hit)
        values = torch.zeros(len(channels)) if large.values is None else torch.tensor(large.values)
        values = values.to(stream.device, stream.dtype)
        return stream.index_copy(-1, channels, torch.where(hit, values, entries))

    return change


def _replacing_elsewhere(layer: int, large: LargeEntries, seed: int, tally: Tally | None) -> Change:
    """As many entries of other channels and tokens: to zero, or to the mean of their channel over the sequence."""
    own_seed = seed * 1000 + layer

    def change(stream: Tensor) -> Tensor:
        others = other_channels(large.channels, stream.shape[-1], own_seed)
        found = stream.index_select(-1, torch.tensor(large.channels, device=stream.device)).abs() > large.threshold
        order = torch.randperm(stream.shape[-2], generator=torch.Generator().manual_seed(own_seed + 1))
        hit = found.index_select(-2, order.to(stream.device))
        if tally is not None:
            tally.add(layer, hit)
        channels = torch.tensor(others, device=stream.device)
        entries = stream.index_select(-1, channels)
        values = (
            torch.zeros_like(entries) if large.values is None else entries.mean(-2, keepdim=True).expand_as(entries)
        )
        return stream.index_copy(-1, channels, torch.where(hit, values, entries))

    return change


@contextmanager
def _changed(model: PreTrainedModel, changes: Mapping[int, Change]) -> Iterator[None]:
    """Changes what leaves layers."""

    def hook_of(change: Change) -> Any:
        def hook(_module: nn.Module, _args: tuple[Any, ...], output: Any) -> Any:
            if isinstance(output, tuple):
                return (change(output[0]), *output[1:])
            return change(output)

        return hook

    layers = family_of(model).decoder_layers(model)
    handles = [layers[layer].register_forward_hook(hook_of(change)) for layer, change in changes.items()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
