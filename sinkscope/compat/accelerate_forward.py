"""The forward function of a model that went through accelerate's `prepare`.

Needed: under mixed precision accelerate replaces `forward` on the instance by one inside autocast, and keeps the
original in `_original_forward`. A measurement on the way runs the weights in their own dtype.

Public alternative: `accelerate.utils.extract_model_from_parallel(keep_fp32_wrapper=False)`, which takes it off for good
instead of for the length of a measurement.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn

_ORIGINAL = "_original_forward"


@contextmanager
def forward_of_the_class(model: nn.Module) -> Iterator[None]:
    """Inside the `with` block, the model without the autocast that accelerate put around its forward function."""
    attributes = model.__dict__
    if _ORIGINAL not in attributes:
        yield
        return
    wrapped = attributes["forward"]
    attributes["forward"] = attributes[_ORIGINAL]
    try:
        yield
    finally:
        attributes["forward"] = wrapped
