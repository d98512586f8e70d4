"""The attention functions that transformers chooses from.

Needed: the tap and the valve compute part of what they do with transformers' own functions (fused attention for a
vision tower, each implementation behind its valve) and register the mask function of one name under another.
`AttentionInterface` and `AttentionMaskInterface` are public and take functions in; the tables from which one is taken
out, and the functions in them, are not promised. Eager attention is in no table: every modeling file has its own
function `eager_attention_forward`, which is found by the module of the attention's class.

Public alternative: `AttentionInterface()[name]` for the tables, if transformers documents it.
"""

import sys
from collections.abc import Callable
from typing import Any, cast

from torch import Tensor, nn
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

__all__ = ["Attention", "attention_function", "mask_function", "sdpa_attention_forward"]

Attention = Callable[..., tuple[Tensor, Tensor | None]]


def attention_function(module: nn.Module, name: str) -> Attention:
    """The function behind an implementation's name, for an attention module."""
    if name == "eager":
        return cast("Attention", sys.modules[type(module).__module__].eager_attention_forward)
    return cast("Attention", ALL_ATTENTION_FUNCTIONS[name])


def mask_function(name: str) -> Callable[..., Any]:
    """The function that makes an implementation's masks."""
    return cast("Callable[..., Any]", ALL_MASK_ATTENTION_FUNCTIONS[name])
