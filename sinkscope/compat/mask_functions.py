"""The parts that transformers composes attention masks from.

Needed: a mask is kept as transformers composed it, a function of (sequence, head, query, key), and evaluated a block at
a time (`models.taps.masks`). The parts and the padding's preparation stand in `transformers.masking_utils`, which is
documented for users in parts only. A composition that takes single indices has to be mapped over them:
`_vmap_expansion_sdpa` does, and indexing a tensor with a mapped index needs torch's private `TransformGetItemToIndex`,
as in transformers itself.

Public alternative: `torch.vmap` by hand once torch lets a mapped index index a tensor; for the parts, their
documentation.
"""

from collections.abc import Callable
from typing import Any

from torch import Tensor
from torch._dynamo._trace_wrapped_higher_order_op import TransformGetItemToIndex
from transformers.masking_utils import (
    _vmap_expansion_sdpa,
    and_masks,
    causal_mask_function,
    padding_mask_function,
    prepare_padding_mask,
    sdpa_mask,
)

__all__ = [
    "MaskFunction",
    "and_masks",
    "causal_mask_function",
    "mapped",
    "padding_mask_function",
    "prepare_padding_mask",
    "sdpa_mask",
]

# (sequence, head, query, key), index tensors that broadcast, to bool: transformers' protocol of a mask function, whose
# annotations there name single indices.
MaskFunction = Callable[..., Any]


def mapped(function: MaskFunction, sequence: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
    """A mask function that takes single indices, for all of four lists of them: bool [B, H, R, C]."""
    with TransformGetItemToIndex():
        seen: Tensor = _vmap_expansion_sdpa(function)(sequence, head, query, key)
    return seen
