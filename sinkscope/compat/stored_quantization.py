"""Checkpoints that are stored quantized: which methods transformers knows, and fp8 weights without a GPU.

Needed: a method that transformers does not know it passes over with a warning, and reads packed numbers as weights. The
table of methods is what its auto class looks in. And fp8 weights are expanded where there is no GPU for their kernels,
by `Fp8Dequantize`, which takes a block's size from the shape of the scales: where the last block is cut, every block
would be a little too small and get its neighbour's scale. Here it is that of the configuration.

Public alternative: for the methods, none; for the blocks, none.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from math import ceil
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from transformers import FineGrainedFP8Config
from transformers.integrations.finegrained_fp8 import Fp8Dequantize
from transformers.quantizers.auto import AUTO_QUANTIZATION_CONFIG_MAPPING

_EXPAND = "_dequantize_one"


def known_methods() -> list[str]:
    """The values of `quant_method` that transformers knows."""
    return sorted({name.removesuffix("_4bit").removesuffix("_8bit") for name in AUTO_QUANTIZATION_CONFIG_MAPPING})


def expanded_fp8() -> dict[str, Any]:
    """Arguments of `from_pretrained` that have fp8 weights expanded while they are read."""
    return {"quantization_config": FineGrainedFP8Config(dequantize=True)}


@contextmanager
def whole_blocks(block: tuple[int, int] | None) -> Iterator[None]:
    """Inside, fp8 weights are expanded by blocks of the size that config.json names, the last of a row cut.

    Args:
        block: rows and columns that share a scale; None where one scale is a whole tensor's.
    """
    original = getattr(Fp8Dequantize, _EXPAND)

    def expand(self: Any, weight: Tensor, scales: Tensor, output_dtype: torch.dtype | None = None) -> Tensor:
        if weight.dtype not in (torch.float8_e4m3fn, torch.float8_e5m2) or scales.dtype == torch.uint8:
            expanded: Tensor = original(self, weight, scales, output_dtype=output_dtype)
            return expanded
        return expand_blocks(weight, scales, block, output_dtype)

    with mock.patch.object(Fp8Dequantize, _EXPAND, expand):
        yield


def expand_blocks(weight: Tensor, scales: Tensor, block: tuple[int, int] | None, dtype: torch.dtype | None) -> Tensor:
    """fp8 numbers times the scale of their block.

    Args:
        weight: [..., R, C].
        scales: [..., ceil(R / rows), ceil(C / columns)]; one number without blocks.
        block: its rows and columns.
        dtype: of the result; by default that of the scales.

    Raises:
        ValueError: where the scales are of other blocks.
    """
    dtype = dtype or (scales.dtype if scales.element_size() > 1 else torch.bfloat16)
    if block is None:
        if scales.numel() != 1:
            raise ValueError(f"{scales.numel()} scales of a weight {list(weight.shape)}, and no 'weight_block_size'")
        return (weight.float() * scales.float().reshape(())).to(dtype)
    rows, columns = weight.shape[-2:]
    wanted = [ceil(rows / block[0]), ceil(columns / block[1])]
    if list(scales.shape[-2:]) != wanted:
        raise ValueError(f"scales {list(scales.shape)} of a weight {list(weight.shape)} in blocks of {list(block)}")
    spread = scales.float().repeat_interleave(block[0], -2).repeat_interleave(block[1], -1)
    return (weight.float() * spread[..., :rows, :columns]).to(dtype)
