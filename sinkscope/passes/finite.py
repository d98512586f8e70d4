"""Why something is not a finite number: a weight that is none, or a dtype that is too small."""

import math

from torch import Tensor
from transformers import PreTrainedModel

from sinkscope.errors import SinkscopeError

_NAMED = 3


def reason(model: PreTrainedModel) -> str:
    """Why a model computes what is not finite, in words: the weights that are not, else a larger dtype.

    Args:
        model: the model; of a skeleton, what is in memory now is looked at.
    """
    there = [(name, weight) for name, weight in model.named_parameters() if not weight.is_meta]
    bad = [name for name, weight in there if weight.is_floating_point() and not bool(weight.isfinite().all())]
    more = f" and {len(bad) - _NAMED} more" if len(bad) > _NAMED else ""
    return f"the weights {', '.join(bad[:_NAMED])}{more} are not finite" if bad else "try `dtype=float32` or bfloat16"


def refuse_losses(losses: Tensor, model: PreTrainedModel) -> None:
    """Refuses losses that are not finite.

    Args:
        losses: of the sequences of a pass, summed over their targets [B].
        model: with the weights of its head in memory.

    Raises:
        SinkscopeError: naming the weight at fault, where there is one.
    """
    if not bool(losses.isfinite().all()):
        raise SinkscopeError(f"the loss is not finite: {reason(model)}")


def or_infinite(value: float) -> float:
    """A loss or an error to put in order with others: what is not finite is the largest."""
    return value if math.isfinite(value) else math.inf
