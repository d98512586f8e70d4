"""The hidden states that enter decoder layers, and a pass that enters at one of them.

Needed: where only late layers change, what the earlier ones compute is known, and most of a pass is saved by beginning
behind them. No decoder takes hidden states for a layer of its choice, so the layers before it hand their input on
unread, and the layer is given the states that were kept. This relies on the habits of transformers' modeling files that
`layer_calls` names: hidden states are a layer's first positional argument, and what it returns, alone or first in a
tuple. Whoever enters a model so compares one such pass with the whole one first: a layer that reads more of its
predecessors than their hidden states shows there.

Public alternative: none; a decoder that takes its layers' loop as an argument would be one.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest import mock

from torch import Tensor, nn


@contextmanager
def watched(layers: list[nn.Module], note: Callable[[int, Tensor | None, int | None], None]) -> Iterator[None]:
    """Tells, while entered, what every layer is given and how it returns.

    Args:
        layers: decoder layers.
        note: called with a layer's number, the hidden states that enter it (None where there are none in their place),
            and the length of the tuple that it returned (None where it returned a tensor).
    """

    def watching(number: int) -> Any:
        def hook(_: nn.Module, args: tuple[Any, ...], output: Any) -> None:
            hidden = args[0] if args and isinstance(args[0], Tensor) else None
            note(number, hidden, len(output) if isinstance(output, tuple) else None)

        return hook

    handles = [layer.register_forward_hook(watching(number)) for number, layer in enumerate(layers)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def entered_at(layers: list[nn.Module], number: int, hidden: Tensor, lengths: list[int | None]) -> Iterator[None]:
    """Makes passes, while entered, begin at a layer.

    Args:
        layers: decoder layers.
        number: of the layer to begin at.
        hidden: the states that enter it.
        lengths: by layer, of the tuple that it returns; None for a tensor.
    """

    def handing_on(length: int | None) -> Any:
        def forward(states: Tensor, *_: Any, **__: Any) -> Any:
            return states if length is None else (states, *([None] * (length - 1)))

        return forward

    def enter(_: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
        return (hidden, *args[1:])

    handle = layers[number].register_forward_pre_hook(enter)
    try:
        with ExitStack() as stack:
            for layer, length in zip(layers[:number], lengths, strict=False):
                stack.enter_context(mock.patch.object(layer, "forward", handing_on(length)))
            yield
    finally:
        handle.remove()
