"""Weights in 8 bits agree with torchao's on the same scales."""

import pytest
import torch
from torch import Tensor, nn

from sinkscope.methods.formats.rounding import nearest_, rounded, scale_of
from sinkscope.methods.formats.side import Scope, Side
from sinkscope.methods.formats.table import Integer

pytest.importorskip("torchao")

INT8 = Side(Integer(8), Scope.CHANNEL)


def codes(weight: Tensor, scale: Tensor) -> Tensor:
    return nearest_(weight / scale, Integer(8)).to(torch.int8)


def test_codes_agree_with_torchaos_primitive_on_our_scales() -> None:
    from torchao.quantization.quant_primitives import dequantize_affine, quantize_affine

    torch.manual_seed(0)
    weight = torch.randn(48, 32) * torch.logspace(-2, 2, 48)[:, None]
    scale = scale_of(weight, INT8, None)
    zero = torch.zeros(48, dtype=torch.int32)
    theirs = quantize_affine(weight, (1, 32), scale.flatten(), zero, torch.int8, -127, 127)
    # torchao multiplies by the reciprocal of the scale, which could turn a tie; no weight here meets one.
    assert torch.equal(codes(weight, scale), theirs)
    values = dequantize_affine(theirs, (1, 32), scale.flatten(), zero, torch.int8, -127, 127)
    torch.testing.assert_close(rounded(weight, INT8), values)


def test_codes_agree_with_a_quantized_linear_on_its_scales() -> None:
    from torchao.quantization import Int8WeightOnlyConfig, quantize_

    torch.manual_seed(0)
    linear = nn.Sequential(nn.Linear(32, 48))
    weight = linear[0].weight.detach().clone()
    quantize_(linear, Int8WeightOnlyConfig())
    theirs = linear[0].weight
    found = codes(weight, theirs.scale.float().reshape(-1, 1))
    assert torch.equal(found, theirs.qdata.clamp(min=-127))  # torchao uses -128, a probe does not
    assert (theirs.qdata == -128).any()
