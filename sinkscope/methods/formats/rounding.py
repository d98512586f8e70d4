"""Rounds a tensor as one side of a linear map says: exactly, in float32, whatever the format.

    x_hat = s * nearest(x / s),    nearest: to the values of the element, ties to the even code, clamped to its largest

All arithmetic is in float32 whatever the dtype of x, and x_hat is returned in x's own dtype. Steps between neighbouring
values are powers of two, so that x / s over the step is exact and one rounding is all there is. Blocks lie along the
last dimension, that of the inputs, over which the map sums.

What has no answer in the formats themselves is decided here. Values beyond the largest are clamped, also where torch's
own cast gives infinity or NaN. Where a scale is 0 all its values are 0. A block (or token, channel, tensor) that holds
a value that is not finite is NaN altogether, as OCP MX v1.0 has it for NaN; under a calibrated scale infinity is
clamped and NaN stays. In NVFP4 the scale of a block that is not all zeros is never less than 2^-9, the smallest of
E4M3.

The derivative of a step function is 0 wherever there is one, so its exact gradient says nothing of what comes before.
Where a gradient has to pass a rounding, it is the straight-through one (Bengio et al., arXiv:1308.3432): d x_hat / d x
is 1 where x was rounded and 0 where it was clamped, with the scale as a constant.

Shapes: D inputs, in D / G blocks of G.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from sinkscope.methods.formats.side import Scope, Side
from sinkscope.methods.formats.table import E4M3, Element, Integer, Scales

_EXPONENT = 0x7F800000  # the bits of float32 that hold its exponent
_LEAST_POWER = -127  # of E8M0


def rounded(x: Tensor, side: Side, absmax: float | None = None) -> Tensor:
    """x_hat, in the shape and dtype of x; x itself is not changed.

    Args:
        x: weights [N, D] or inputs [..., D].
        side: how.
        absmax: the calibrated largest |x|, where the side asks for one.
    """
    if torch.is_grad_enabled() and x.requires_grad:
        result: Tensor = _StraightThrough.apply(x, side, absmax)  # type: ignore[no-untyped-call]
        return result
    blocks = in_blocks(x, side)
    if isinstance(side.element, Integer) and side.element.asymmetric:
        values = _asymmetric(blocks, side)
    else:
        scale = scale_of(blocks, side, absmax)
        values = nearest_(blocks / torch.where(scale == 0, torch.inf, scale), side.element).mul_(scale)
    return values.reshape(x.shape).to(x.dtype)


def nearest_(x: Tensor, element: Element | Integer) -> Tensor:
    """The nearest values of an element, ties to the even code, in place of a float32 tensor."""
    if isinstance(element, Integer):
        return x.round_().clamp_(-element.largest, element.largest)
    x.clamp_(-element.largest, element.largest)
    power = (x.view(torch.int32) & _EXPONENT).view(torch.float32)  # 2^floor(log2 |x|) of what is normal in float32
    step = power.clamp_(min=2.0**element.lowest).mul_(2.0**-element.mantissa)
    return x.div_(step).round_().mul_(step)


def scale_of(blocks: Tensor, side: Side, absmax: float | None) -> Tensor:
    """The scale of each block, broadcast against them: NaN for one that holds a value that is not finite.

    Args:
        blocks: float32 [..., G].
        side: how; not of asymmetric integers.
        absmax: as of `rounded`.
    """
    largest = float(side.element.largest)
    if side.scales is Scales.FLOAT32:
        return _finite(_absmax(blocks, side, absmax)) / largest
    if not isinstance(side.element, Element):
        raise TypeError("scales of few bits are for floating-point elements")
    of_block = _finite(blocks.abs().amax(dim=-1, keepdim=True))
    if side.scales is Scales.POWER:
        exponent = torch.frexp(of_block).exponent - 1 - side.element.highest  # floor(log2), of subnormals too
        power = torch.ldexp(torch.ones_like(of_block), exponent.clamp(min=_LEAST_POWER))
        return torch.where(of_block.isnan(), of_block, power)
    of_tensor = _finite(_absmax(blocks, side, absmax)) / (largest * E4M3.largest)
    share = of_block / largest / torch.where(of_tensor == 0, torch.inf, of_tensor)
    least = 2.0 ** (E4M3.lowest - E4M3.mantissa)
    return torch.where(share > 0, nearest_(share.clone(), E4M3).clamp_(min=least), share) * of_tensor


def _absmax(blocks: Tensor, side: Side, absmax: float | None) -> Tensor:
    """The largest |x| of what the side's scope says."""
    if side.calibrated:
        if absmax is None:
            raise TypeError("a calibrated side needs the largest |x| of its calibration")
        return torch.tensor(absmax, dtype=torch.float32, device=blocks.device)
    if side.scope is Scope.TENSOR:
        return blocks.abs().amax()
    if side.scales is Scales.FLOAT32 or side.block is None:
        return blocks.abs().amax(dim=-1, keepdim=True)
    return blocks.abs().amax(dim=(-2, -1), keepdim=True)


def _asymmetric(blocks: Tensor, side: Side) -> Tensor:
    """Codes from 0, less the code that zero has: the range always holds zero, which stays exact."""
    low, high = blocks.amin(dim=-1, keepdim=True).clamp(max=0), blocks.amax(dim=-1, keepdim=True).clamp(min=0)
    most = side.element.largest
    scale = _finite(high - low) / most
    by = torch.where(scale == 0, torch.inf, scale)
    zero = (-low / by).round_().clamp_(0, most)
    codes = (blocks / by).round_().add_(zero).clamp_(0, most)
    return codes.sub_(zero).mul_(scale)


def in_blocks(x: Tensor, side: Side) -> Tensor:
    """X in float32, its last dimension cut into blocks where there are some."""
    x = x.float()
    return x if side.block is None else x.unflatten(-1, (-1, side.block))


def _finite(x: Tensor) -> Tensor:
    """X with infinities as NaN."""
    return torch.where(x.isinf(), torch.nan, x)


class _StraightThrough(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, side: Side, absmax: float | None) -> Tensor:
        element, blocks = side.element, in_blocks(x, side)
        scale = scale_of(blocks, side, absmax)
        steps = (blocks / torch.where(scale == 0, torch.inf, scale)).abs()
        inside = steps.round() <= element.largest if isinstance(element, Integer) else steps <= element.clamped_from
        ctx.save_for_backward(inside.reshape(x.shape))
        return rounded(x, side, absmax)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        (inside,) = ctx.saved_tensors
        return gradient * inside, None, None
