"""What a step of an ablation is: something that is taken away, and controls of the same size."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor
from transformers import PreTrainedModel

from sinkscope.ablation.targets import Targets
from sinkscope.interventions.hidden import Tally
from sinkscope.interventions.weights import SuperWeight


@contextmanager
def untouched() -> Iterator[None]:
    """Takes nothing away."""
    yield


@dataclass(frozen=True)
class Reading:
    """Windows as a step has the model read them.

    Attributes:
        input_ids: token ids [N, T'].
        origin: where each of their places stood in the windows [T']; -1 for a token that was added.
    """

    input_ids: Tensor
    origin: Tensor


def as_it_is(input_ids: Tensor) -> Reading:
    """Windows unchanged."""
    return Reading(input_ids, torch.arange(input_ids.shape[1]))


@dataclass(frozen=True)
class Variation:
    """A model, or its text, with something taken away.

    Attributes:
        enter: puts it on the model while a `with` block lasts.
        read: what the model reads.
        tally: counts what is taken away as passes go by; None where that is known.
    """

    enter: Callable[[], AbstractContextManager[None]] = untouched
    read: Callable[[Tensor], Reading] = as_it_is
    tally: Tally | None = None


@dataclass(frozen=True)
class Step:
    """An intervention with its controls.

    Attributes:
        what: its name.
        where: which layers, positions or kind.
        unit: what its size counts.
        size: how much is taken away; None where it is counted as passes go by.
        own: the intervention.
        control: a control by its seed; None where there is nothing of the same size to take away.
        measured: whether the headline quantities can be measured under it.
        asks: whether needles can be asked for under it.
    """

    what: str
    where: str
    unit: str
    size: float | None
    own: Variation
    control: Callable[[int], Variation] | None
    measured: bool = True
    asks: bool = True

    @property
    def key(self) -> str:
        """Its name and place, unlike those of any other step."""
        return f"{self.what}, {self.where}"


@dataclass(frozen=True)
class Subject:
    """What steps act on.

    Attributes:
        model: the model.
        targets: what a run says is there.
        tokens: T, length of the windows.
        bos: token id of the <bos> that every window starts with; None where they have none.
        bos_token: that of the tokenizer; None where it has none.
        super_weights: those that were found.
        renormalize: whether rows sum to 1 again where attention is taken away.
    """

    model: PreTrainedModel
    targets: Targets
    tokens: int
    bos: int | None = None
    bos_token: int | None = None
    super_weights: list[SuperWeight] = field(default_factory=list)
    renormalize: bool = True
