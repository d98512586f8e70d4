"""Single weights of down projections, set to zero and back; and how super weights are found.

A super weight (arXiv:2411.07191) is the weight through which one spike in the input of a down projection makes one in
its output, which the residual stream then carries as a massive activation. One forward pass finds it: where the
largest |x| that a layer's down projection reads and the largest that it writes stand at one token, and the written
one is massive, the row is the written channel and the column the read one.

    share = w[row, column] * x[column] / y[row]       how much of the spike this one weight makes

Shapes: B sequences, T tokens, D channels of the stream, I of the MLP.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from sinkscope.compat.linear_layers import Conv1D
from sinkscope.errors import RequestError
from sinkscope.metrics.massive import is_massive
from sinkscope.metrics.order import median_magnitude
from sinkscope.models.families import family_of
from sinkscope.passes.batches import Batch
from sinkscope.passes.modes import frozen, input_device


class WeightAt(NamedTuple):
    """A weight of a layer's down projection: its output channel and its input channel."""

    layer: int
    row: int
    column: int


class SuperWeight(NamedTuple):
    """A super weight, and the spikes that gave it away.

    Attributes:
        at: where it is.
        value: the weight.
        position: of the token with the spikes.
        entering: the spike that the down projection reads.
        leaving: the spike that it writes.
        share: how much of the written spike the weight makes by itself.
    """

    at: WeightAt
    value: float
    position: int
    entering: float
    leaving: float
    share: float


@contextmanager
def weights_zeroed(model: PreTrainedModel, weights: Iterable[WeightAt]) -> Iterator[None]:
    """Sets single weights to zero while a `with` block lasts, and puts back what they were.

    Raises:
        RequestError: if there is no such weight, or it is stored packed.
    """
    with torch.no_grad():
        kept: list[tuple[Tensor, tuple[int, int], Tensor]] = []
        for at in weights:
            weight, index = _entry(model, at)
            kept.append((weight, index, weight[index].clone()))
        for weight, index, _ in kept:
            weight[index] = 0
    try:
        yield
    finally:
        with torch.no_grad():
            for weight, index, value in reversed(kept):
                weight[index] = value


def other_weights(model: PreTrainedModel, weights: Sequence[WeightAt], seed: int) -> list[WeightAt]:
    """As many other weights of the same down projections."""
    generator = torch.Generator().manual_seed(seed)
    drawn: list[WeightAt] = []
    for at in weights:
        module = _down(model, at.layer)
        assert module is not None  # noqa: S101  (it has a super weight)
        rows, columns = _sizes(module)
        while True:
            row, column = (int(torch.randint(size, (1,), generator=generator)) for size in (rows, columns))
            found = WeightAt(at.layer, row, column)
            if found not in weights and found not in drawn:
                drawn.append(found)
                break
    return drawn


@torch.no_grad()
def find_super_weights(model: PreTrainedModel, batch: Batch) -> list[SuperWeight]:
    """Super weights of a model, by layer, from one forward pass.

    Args:
        model: a causal LM; layers whose MLP is a mixture of experts have no one down projection and are passed over.
        batch: what it reads.
    """
    found: dict[int, SuperWeight] = {}
    handles = []

    def hook_of(layer: int) -> Any:
        def hook(module: nn.Module, args: tuple[Any, ...], output: Tensor) -> None:
            read, written = (x.detach().flatten(0, -2).float() for x in (args[0], output))
            spike = _spike(layer, module, read, written, batch.input_ids.shape[1])
            if spike is not None:
                found[layer] = spike

        return hook

    for layer in range(len(family_of(model).decoder_layers(model))):
        module = _down(model, layer)
        if module is not None:
            handles.append(module.register_forward_hook(hook_of(layer)))
    try:
        with frozen(model):
            family_of(model).decoder(model)(input_ids=batch.input_ids.to(input_device(model)), use_cache=False)
    finally:
        for handle in handles:
            handle.remove()
    return [found[layer] for layer in sorted(found)]


def _spike(layer: int, module: nn.Module, read: Tensor, written: Tensor, tokens: int) -> SuperWeight | None:
    """The weight between the largest |x| read [B * T, I] and written [B * T, D], where both are at one token."""
    token, row = divmod(int(written.abs().argmax()), written.shape[1])
    reading, column = divmod(int(read.abs().argmax()), read.shape[1])
    leaving, entering = written[token, row], read[reading, column]
    if token != reading or not bool(is_massive(leaving, median_magnitude(written))):
        return None
    at = WeightAt(layer, row, column)
    value = float(_weight(module)[row, column]) if _is_plain(module) else float("nan")
    share = value * float(entering) / float(leaving)
    return SuperWeight(at, value, token % tokens, float(entering), float(leaving), share)


def _down(model: PreTrainedModel, layer: int) -> nn.Module | None:
    family = family_of(model)
    if family.down is None:
        return None
    try:
        return family.decoder_layers(model)[layer].get_submodule(family.down)
    except AttributeError:
        return None


def _is_plain(module: nn.Module) -> bool:
    weight = cast("Tensor", module.weight)
    return weight.dim() == 2 and weight.is_floating_point()


def _weight(module: nn.Module) -> Tensor:
    """The weight as [rows, columns]: output channels, input channels."""
    weight = cast("Tensor", module.weight).detach()
    return weight.T if isinstance(module, Conv1D) else weight


def _sizes(module: nn.Module) -> tuple[int, int]:
    rows, columns = _weight(module).shape
    return rows, columns


def _entry(model: PreTrainedModel, at: WeightAt) -> tuple[Tensor, tuple[int, int]]:
    count = len(family_of(model).decoder_layers(model))
    if not 0 <= at.layer < count:
        raise RequestError(f"there is no layer {at.layer}: the model has layers 0 to {count - 1}")
    module = _down(model, at.layer)
    if module is None:
        raise RequestError(f"layer {at.layer} has no down projection of its own")
    if not _is_plain(module):
        raise RequestError(
            "single weights are set in full precision, and these are stored packed: leave out `quantize`"
        )
    rows, columns = _sizes(module)
    if not (0 <= at.row < rows and 0 <= at.column < columns):
        raise RequestError(
            f"the down projection of layer {at.layer} has {rows} rows and {columns} columns, not {at[1:]}"
        )
    return _weight(module), (at.row, at.column)  # a view of the parameter
