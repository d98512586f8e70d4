"""Quantization the slow and obvious way: Python numbers, one value at a time, written without the package's code."""

import math
from fractions import Fraction

import torch
from torch import Tensor, nn


def f32(value: float) -> float:
    """The nearest float32."""
    return float(torch.tensor(value, dtype=torch.float32))


def half_even(value: Fraction) -> int:
    """The nearest whole number, ties to the even one."""
    below = math.floor(value)
    rest = value - below
    if rest == Fraction(1, 2):
        return below if below % 2 == 0 else below + 1
    return below if rest < Fraction(1, 2) else below + 1


def code(x: float, scale: float, bits: int) -> int:
    n = 2 ** (bits - 1) - 1
    if scale == 0:
        return 0
    return max(-n, min(n, half_even(Fraction(f32(x / scale)))))


def row(values: list[float], largest: float, bits: int) -> list[float]:
    """A row of values rounded by one scale, largest / n."""
    scale = f32(largest / (2 ** (bits - 1) - 1))
    return [f32(code(v, scale, bits) * scale) for v in values]


def linear(
    module: nn.Linear, x: Tensor, weight_bits: int | None, activation_bits: int | None, largest: float | None
) -> Tensor:
    """Output of a linear module [T, N] with rounded weight and input [T, D], in float64.

    `largest` is the calibrated |x| of static activations; None takes each token's own.
    """
    weights = [[float(w) for w in r] for r in module.weight.detach()]
    tokens = [[float(v) for v in r] for r in x]
    if weight_bits:
        weights = [row(r, max(abs(w) for w in r), weight_bits) for r in weights]
    if activation_bits:
        tokens = [row(r, largest if largest is not None else max(abs(v) for v in r), activation_bits) for r in tokens]
    bias = [0.0] * len(weights) if module.bias is None else [float(b) for b in module.bias.detach()]
    out = [[math.fsum(a * b for a, b in zip(t, r, strict=True)) + c for r, c in zip(weights, bias, strict=True)]
           for t in tokens]  # fmt: skip
    return torch.tensor(out, dtype=torch.float64)


def sqnr(exact: Tensor, rounded: Tensor) -> float:
    signal = math.fsum(float(v) ** 2 for v in exact.flatten())
    error = math.fsum((float(v) - float(w)) ** 2 for v, w in zip(exact.flatten(), rounded.flatten(), strict=True))
    return 10 * math.log10(signal / error)
