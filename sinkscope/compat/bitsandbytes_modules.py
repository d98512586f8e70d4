"""bitsandbytes' quantized modules: two errors of its 4-bit code on a CPU put right, and what 8-bit modules keep.

Needed: a 4-bit module has to give on a CPU the numbers that it gives on a GPU. bitsandbytes (0.50) departs from them in
two places:

- A processor that multiplies bfloat16 natively makes it repack the weights, in passes without gradients, and compute in
  bfloat16, whatever compute dtype the module was given. `repair_` switches that off.
- 4-bit weights share one scale per block of 64, and blocks run on from one row of the matrix into the next. The CPU's
  dequantization starts a new block with every row instead, so a matrix whose width is no multiple of 64 comes back
  wrong, by a quarter of its norm. `dequantized` asks for the same numbers as a matrix of a single row, which comes back
  right, and `repair_` makes the modules compute with it.

An 8-bit module copies its weight into its `state` on first use; a streamed model has to let go of that copy too.

The attributes behind all three (`support_avx512bf16_for_cpu`, `quant_state`, `state.CB`) are documented nowhere.

Public alternative: none needed once bitsandbytes computes alike on all devices; the tests beside this show when.
"""

from typing import Any, cast

from torch import Tensor, nn
from torch.nn import functional as F
from transformers import PreTrainedModel


def repair_(model: PreTrainedModel) -> None:
    """Sets the 4-bit modules of a model right, in place; does nothing on a GPU."""
    from bitsandbytes.nn.modules import Linear4bit

    for part in model.modules():
        module: Any = part if isinstance(part, Linear4bit) else None
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


def forget_quantized_(module: nn.Module) -> None:
    """Drops what bitsandbytes keeps of a weight beside the weight itself, and a repaired forward function."""
    module.__dict__.pop("forward", None)
    state = getattr(module, "state", None)
    if state is not None and hasattr(state, "CB"):
        state.CB = state.SCB = None
