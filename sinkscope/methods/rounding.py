"""Symmetric integer quantization, as pure functions of tensors.

With b bits there are the codes -n .. n, n = 2^(b-1) - 1 (127 for 8 bits): symmetric, so that zero stays zero and the
code -2^(b-1) is never used. A value x with scale s becomes

    code(x) = clamp(round(x / s), -n, n),    x_hat = s * code(x)

with ties rounded to even. All arithmetic is in float32 whatever the dtype of x; x_hat is returned in x's own dtype,
because a probe simulates: the model's own matrix product then runs on values that an integer kernel would have seen.

The derivative of a step function is 0 wherever there is one, so its exact gradient says nothing of what comes before.
Where a gradient has to pass a rounding, it is the straight-through one (Bengio et al., arXiv:1308.3432): d x_hat / d x
is 1 where x lies in the range of the codes and 0 where it was clamped, with the scale as a constant.

Shapes: N output channels, D input channels.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

BITS = range(2, 9)


def largest_code(bits: int) -> int:
    """The code of the largest value, n = 2^(bits-1) - 1."""
    return int(2 ** (bits - 1)) - 1


def channel_scale(weight_ND: Tensor, bits: int) -> Tensor:
    """A static scale per output channel: the largest |w| of the row over the largest code, float32 [N, 1]."""
    return weight_ND.float().abs().amax(dim=1, keepdim=True) / largest_code(bits)


def token_scale(x: Tensor, bits: int) -> Tensor:
    """A dynamic scale per token: the largest |x| of the token over the largest code, float32 [..., 1] from [..., D]."""
    return x.float().abs().amax(dim=-1, keepdim=True) / largest_code(bits)


def tensor_scale(absmax: float, bits: int) -> Tensor:
    """A static scale of a whole tensor, from the largest |x| of a calibration: float32 []."""
    return torch.tensor(absmax, dtype=torch.float32) / largest_code(bits)


def codes(x: Tensor, scale: Tensor, bits: int) -> Tensor:
    """Integer codes, int8 in the shape of x.

    Args:
        x: values.
        scale: float32, broadcast against x. Where it is 0 every code is 0.
        bits: 2 to 8.
    """
    n = largest_code(bits)
    return _steps(x, scale).clamp(-n, n).to(torch.int8)


def quantized(x: Tensor, scale: Tensor, bits: int) -> Tensor:
    """x_hat: the values that the codes of x stand for, in the shape and dtype of x; x itself is not changed."""
    return (codes(x, scale, bits).float() * scale).to(x.dtype)


def straight_through(x: Tensor, scale: Tensor, bits: int) -> Tensor:
    """`quantized`, where a gradient is wanted with the straight-through one."""
    if not (torch.is_grad_enabled() and x.requires_grad):
        return quantized(x, scale, bits)
    result: Tensor = _StraightThrough.apply(x, scale, bits)  # type: ignore[no-untyped-call]
    return result


class _StraightThrough(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: Tensor, bits: int) -> Tensor:
        ctx.save_for_backward(_steps(x, scale).abs() <= largest_code(bits))
        return quantized(x, scale, bits)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        (inside,) = ctx.saved_tensors
        return gradient * inside, None, None


def _steps(x: Tensor, scale: Tensor) -> Tensor:
    """X in steps of the scale, rounded but not yet clamped, float32."""
    return (x.float() / torch.where(scale > 0, scale, torch.inf)).round()
