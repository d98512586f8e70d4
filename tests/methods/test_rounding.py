"""Codes, scales and rounded values are those of the slow reference."""

import pytest
import slow_rounding as slow
import torch

from sinkscope.methods.rounding import channel_scale, codes, largest_code, quantized, tensor_scale, token_scale


@pytest.mark.parametrize("bits", range(2, 9))
def test_agrees_with_the_reference(bits: int) -> None:
    torch.manual_seed(bits)
    x = torch.randn(7, 9) * torch.logspace(-3, 3, 7)[:, None]
    rows = x.tolist()
    expected = [slow.row(r, max(abs(v) for v in r), bits) for r in rows]
    assert quantized(x, token_scale(x, bits), bits).tolist() == expected
    assert quantized(x, channel_scale(x, bits), bits).tolist() == expected
    largest = float(x.abs().max())
    assert quantized(x, tensor_scale(largest, bits), bits).tolist() == [slow.row(r, largest, bits) for r in rows]


def test_ties_go_to_the_even_code() -> None:
    x = torch.tensor([0.5, 1.5, 2.5, 3.5, -0.5, -1.5, -2.5, 126.5])
    assert codes(x, torch.tensor(1.0), 8).tolist() == [0, 2, 2, 4, 0, -2, -2, 126]


@pytest.mark.parametrize("bits", range(2, 9))
def test_codes_are_symmetric_and_clamped(bits: int) -> None:
    n = largest_code(bits)
    assert n == {2: 1, 3: 3, 4: 7, 5: 15, 6: 31, 7: 63, 8: 127}[bits]
    x = torch.tensor([-1e9, -float(n), 0.0, float(n), 1e9])
    assert codes(x, torch.tensor(1.0), bits).tolist() == [-n, -n, 0, n, n]


def test_zero_scale_gives_zero() -> None:
    x = torch.zeros(2, 3)
    assert quantized(x, token_scale(x, 8), 8).tolist() == x.tolist()
    assert quantized(torch.ones(2), tensor_scale(0.0, 8), 8).tolist() == [0, 0]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_sixteen_bit_values_get_float32_scales(dtype: torch.dtype) -> None:
    x = (torch.randn(4, 16) * 100).to(dtype)
    scale = token_scale(x, 8)
    assert scale.dtype == torch.float32
    rounded = quantized(x, scale, 8)
    assert rounded.dtype == dtype
    expected = torch.tensor([slow.row(r, max(abs(v) for v in r), 8) for r in x.float().tolist()])
    assert torch.equal(rounded, expected.to(dtype))


def test_the_input_is_not_changed() -> None:
    x = torch.randn(3, 4)
    before = x.clone()
    quantized(x, token_scale(x, 4), 4)
    assert torch.equal(x, before)
