"""bitsandbytes' 4-bit modules on a CPU, made to compute what they stand for.

Two shortcuts of its CPU code (seen in 0.50) give other numbers than a GPU gives, and are gone round here:

- Where the processor multiplies bfloat16, a pass without gradients repacks the weights and computes in bfloat16
  whatever the compute dtype is.
- Dequantizing assumes that every row starts a new block. Blocks of 64 run through the whole matrix, so rows whose width
  is no multiple of 64 come back wrong by a quarter of their norm. As one single row they come back right.
"""

from typing import Any, cast

from torch import Tensor
from torch.nn import functional as F
from transformers import PreTrainedModel


def repair_(model: PreTrainedModel) -> None:
    """Sets the 4-bit modules of a model right, in place; does nothing on a GPU."""
    from bitsandbytes.nn.modules import Linear4bit

    for found in model.modules():
        module: Any = found if isinstance(found, Linear4bit) else None
        if module is not None and module.weight.device.type == "cpu":
            module.support_avx512bf16_for_cpu = False
            state = getattr(module.weight, "quant_state", None)  # only of weights that are quantized already
            if state is not None and module.in_features % state.blocksize:
                module.forward = _forward(module)


def _forward(module: Any) -> Any:
    """The module's forward function, with its weight dequantized as one row."""

    def forward(x: Tensor) -> Tensor:
        dtype = module.compute_dtype or x.dtype
        bias = None if module.bias is None else module.bias.to(dtype)
        return F.linear(x.to(dtype), dequantized(module.weight).to(dtype), bias).to(x.dtype)

    return forward


def dequantized(weight: Any) -> Tensor:
    """The values that a 4-bit weight stands for, in its original shape [N, D] and dtype."""
    from bitsandbytes import functional

    state, library = weight.quant_state, cast("Any", functional)
    row = library.QuantState(
        absmax=state.absmax,
        shape=(1, state.shape.numel()),
        code=state.code,
        blocksize=state.blocksize,
        quant_type=state.quant_type,
        dtype=state.dtype,
    )
    values: Tensor = library.dequantize_4bit(weight.data, row)
    return values.reshape(state.shape)
