"""Attention functions that pass the values through a valve first.

The valve sits where transformers hands values to attention: behind the projection, however that is built (separate or
fused, quantized, wrapped by LoRA or merged again), and behind the cache, which keeps raw values. A hook on the
projection would see a part of a LoRA sum, and be lost with the module that a merge replaces.

For every attention implementation that transformers knows there is one with the valve, registered under a name of its
own together with the same mask function. Such a name may contain neither "sdpa" nor "flex_attention", which
transformers treats specially.
"""

from functools import partial
from typing import Any, cast

from torch import Tensor, nn
from torch.nn import functional as F
from transformers import AttentionInterface, AttentionMaskInterface

from sinkscope.compat.attention_functions import attention_function, mask_function

# transformers' implementation: its name with the valve.
WITH_VALVE = {
    "eager": "sinkscope_vscale_eager",
    "sdpa": "sinkscope_vscale_fused",
    "flash_attention_2": "sinkscope_vscale_flash_2",
    "flash_attention_3": "sinkscope_vscale_flash_3",
}
WITHOUT_VALVE = {name: plain for plain, name in WITH_VALVE.items()}


def _valved(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, *rest: Any, plain: str, **options: Any
) -> tuple[Tensor, Tensor | None]:
    """Attention over valved values; transformers' attention interface.

    Args:
        module: the attention module, which has the valve as its child `vscale`; without one its values stay.
        query: [B, H, T, d].
        key: [B, K, T, d].
        value: raw values [B, K, T, d].
        *rest: mask and others, handed on.
        plain: the implementation that computes the attention.
        **options: handed on.
    """
    valve = cast("nn.Module | None", getattr(module, "vscale", None))  # a vision tower beside has none
    values = value if valve is None else valve(value)
    return attention_function(module, plain)(module, query, key, values, *rest, **options)


def valved_fused(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None,
    *,
    scaling: float | None,
    dropout: float,
    is_causal: bool,
) -> tuple[Tensor, None]:
    """The same in the place of torch's fused attention, for modules that call it themselves (`taps.redirect`)."""
    valve = cast("nn.Module", module.vscale)
    plain_causal = is_causal and mask is None
    output = F.scaled_dot_product_attention(
        query, key, valve(value), mask, dropout, plain_causal, scale=scaling, enable_gqa=key.shape[1] != query.shape[1]
    )
    return output.transpose(1, 2), None


for _plain, _name in WITH_VALVE.items():
    AttentionInterface.register(_name, partial(_valved, plain=_plain))
    AttentionMaskInterface.register(_name, mask_function(_plain))
