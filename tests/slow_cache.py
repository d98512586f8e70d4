"""A cache of few bits the slow and obvious way: one token at a time, one group at a time, Python numbers.

The cache keeps exact keys and values and hands attention what a quantized cache would hold once the newest token is in.
"""

import math
from fractions import Fraction
from typing import Any

import torch
from slow_rounding import f32, half_even
from torch import Tensor
from transformers import DynamicCache


def group(values: list[float], bits: int) -> list[float]:
    """Asymmetric integers between the least and the largest value."""
    most, low, high = 2**bits - 1, min(values), max(values)
    scale = f32(f32(high - low) / most)
    if scale == 0:
        return values
    codes = [max(0, min(most, half_even(Fraction(f32(f32(x - low) / scale))))) for x in values]
    return [f32(f32(code * scale) + low) for code in codes]


class SlowCache(DynamicCache):
    """Keys in `key_bits` per channel, values in `value_bits` per token."""

    def __init__(self, key_bits: int, value_bits: int, size: int, sinks: int, window: int) -> None:
        super().__init__()
        self.how = (key_bits, value_bits, size, sinks, window)

    def update(self, key_states: Tensor, value_states: Tensor, layer_idx: int, *args: Any, **kwargs: Any) -> Any:
        assert key_states.shape[2] == 1
        keys, values = super().update(key_states, value_states, layer_idx, *args, **kwargs)
        key_bits, value_bits, size, sinks, window = self.how
        newest = keys.shape[2] - 1
        left = newest - window  # the last token that has left the window
        k, v = keys.clone(), values.clone()
        for b in range(k.shape[0]):
            for head in range(k.shape[1]):
                for start in range(sinks, keys.shape[2] - size + 1, size):
                    if start + size - 1 > left:
                        continue
                    for channel in range(k.shape[3]):
                        column = k[b, head, start : start + size, channel].tolist()
                        k[b, head, start : start + size, channel] = torch.tensor(group(column, key_bits))
                for token in range(sinks, math.floor(left) + 1):
                    for at in range(0, v.shape[3], size):
                        row = v[b, head, token, at : at + size].tolist()
                        v[b, head, token, at : at + size] = torch.tensor(group(row, value_bits))
        return k, v
