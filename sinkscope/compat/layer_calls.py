"""How a decoder calls its layers.

Needed: a layer that runs on its own has to be called as the model calls it, and every architecture hands its layers
other arguments beside the hidden states (masks, rotary embeddings, positions). So the decoder runs once on layers that
note their arguments and hand their input on. This relies on three habits of transformers' modeling files, none of them
promised: hidden states are a layer's first positional argument; a layer returns them, alone or first in a tuple; and
what else a layer is handed does not depend on what the layers before it computed.

Public alternative: none; a decoder that takes its layers' loop as an argument would be one.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any
from unittest import mock

from torch import Tensor, nn
from transformers import PreTrainedModel

from sinkscope.errors import SinkscopeError


@dataclass(frozen=True)
class LayerCall:
    """How a decoder calls one of its layers: everything but the hidden states."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]

    def of(self, layer: nn.Module, hidden: Tensor) -> Tensor:
        """The layer's output for some hidden states."""
        output = layer(hidden, *self.args, **self.kwargs)
        result: Tensor = output[0] if isinstance(output, tuple) else output
        return result


def calls_of(
    model: PreTrainedModel, layers: list[nn.Module], input_ids: Tensor, position_ids: Tensor | None
) -> tuple[Tensor, list[LayerCall]]:
    """What a decoder hands to its layers.

    Args:
        model: only what stands before its layers has to be in memory.
        layers: its decoder layers.
        input_ids: what it reads [B, T], where its weights are.
        position_ids: [B, T]; None counts from 0.

    Returns:
        The hidden states [B, T, D] that enter the first layer, and how each layer is called.

    Raises:
        SinkscopeError: if layers are handed something that depends on what the layers before them computed.
    """
    for returns_tuple in (False, True):
        noted: list[tuple[Tensor, LayerCall]] = []
        with ExitStack() as stack:
            for layer in layers:
                stack.enter_context(_noting(layer, noted, len(layers), returns_tuple))
            try:
                model(input_ids=input_ids, position_ids=position_ids, use_cache=False)
            except _NotedError:
                pass
            except (AttributeError, IndexError, RuntimeError, TypeError, ValueError):
                continue  # a tuple was expected, or a tensor
        first = noted[0][0]
        if len(noted) == len(layers) and all(hidden is first for hidden, _ in noted):
            return first, [call for _, call in noted]
    raise SinkscopeError(f"the layers of {type(model).__name__} cannot be run one by one: use the resident driver")


class _NotedError(Exception):
    """Raised in place of the last layer, where everything worth knowing is known."""


@contextmanager
def _noting(layer: nn.Module, noted: list[tuple[Tensor, LayerCall]], count: int, returns_tuple: bool) -> Iterator[None]:
    """Makes a layer note how it is called, and hand its input on."""

    def forward(hidden: Tensor, *args: Any, **kwargs: Any) -> Any:
        noted.append((hidden, LayerCall(args, kwargs)))
        if len(noted) == count:
            raise _NotedError
        return (hidden,) if returns_tuple else hidden

    with mock.patch.object(layer, "forward", forward):
        yield
