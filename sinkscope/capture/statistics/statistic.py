"""What every statistic of a run can do beside taking in batches: be stored and read back, and join another's.

Stored are the objects themselves, by torch. Reading them executes nothing: torch's restricted unpickler makes instances
of the classes listed here without calling them, and refuses every other name.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any, Self, TypeVar

import torch
from torch import Tensor

from sinkscope.capture.settings import Settings
from sinkscope.sites import Site

T = TypeVar("T")

_VALUES: list[type] = [Settings, Site]


class Statistic:
    """Base of everything that a recorder accumulates over sequences. Subclasses can be stored."""

    def merge(self, other: Self) -> None:
        """Adds what `other` took in from sequences that come after one's own."""
        raise NotImplementedError(f"{type(self).__name__} cannot be merged")


def stored(value: type[T]) -> type[T]:
    """Decorator: instances of this class, which is no statistic itself, may be part of one that is stored."""
    _VALUES.append(value)
    return value


def reading() -> AbstractContextManager[None]:
    """Inside, `torch.load(weights_only=True)` knows the classes that may be stored, and still no others."""
    allowed: Any = torch.serialization.safe_globals([*every_statistic(), *_VALUES])
    return allowed  # type: ignore[no-any-return]


def total(mine: Tensor, others: Tensor) -> Tensor:
    """Sum of two tensors, each padded with zeros to the larger extent in every dimension."""
    if mine.numel() == 0 or others.numel() == 0:
        return mine if others.numel() == 0 else others.to(mine.device)
    shape = [max(pair) for pair in zip(mine.shape, others.shape, strict=True)]
    out = mine.new_zeros(shape)
    for part in (mine, others):
        out[tuple(slice(0, size) for size in part.shape)] += part.to(out.device)
    return out


def every_statistic(base: type[Statistic] = Statistic) -> Iterator[type[Statistic]]:
    """All classes of statistics that were imported."""
    for kind in base.__subclasses__():
        yield kind
        yield from every_statistic(kind)
