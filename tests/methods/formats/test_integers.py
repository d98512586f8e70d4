"""Integer codes, scales and rounded values are those of the slow reference."""

import math

import pytest
import slow_formats
import slow_rounding as slow
import torch

from sinkscope.methods.formats.rounding import nearest_, rounded
from sinkscope.methods.formats.side import Scope, Side
from sinkscope.methods.formats.table import Integer


def per(scope: Scope, bits: int) -> Side:
    return Side(Integer(bits), scope, calibrated=scope is Scope.TENSOR)


@pytest.mark.parametrize("bits", range(2, 9))
def test_agrees_with_the_reference(bits: int) -> None:
    torch.manual_seed(bits)
    x = torch.randn(7, 9) * torch.logspace(-3, 3, 7)[:, None]
    rows = x.tolist()
    expected = [slow.row(r, max(abs(v) for v in r), bits) for r in rows]
    assert rounded(x, per(Scope.TOKEN, bits)).tolist() == expected
    assert rounded(x, per(Scope.CHANNEL, bits)).tolist() == expected
    largest = float(x.abs().max())
    assert rounded(x, per(Scope.TENSOR, bits), largest).tolist() == [slow.row(r, largest, bits) for r in rows]


@pytest.mark.parametrize("bits", [3, 4, 8])
@pytest.mark.parametrize("asymmetric", [False, True])
@pytest.mark.parametrize("group", [32, 64, 128])
def test_groups_agree_with_the_reference(bits: int, group: int, asymmetric: bool) -> None:
    torch.manual_seed(group)
    x = torch.randn(4, 256) * torch.logspace(-2, 2, 256) + torch.linspace(-1, 1, 4)[:, None]
    x[0, :group] = 0
    x[1, :group] = 3.5  # all of one sign: the range still holds zero
    x[2, :group] = -x[2, :group].abs()
    found = rounded(x, Side(Integer(bits, asymmetric), Scope.CHANNEL, block=group))
    of_group = slow_formats.asymmetric_row if asymmetric else (lambda g, b: slow.row(g, max(map(abs, g)), b))
    expected = [v for row in x.tolist() for at in range(0, 256, group) for v in of_group(row[at : at + group], bits)]
    assert found.flatten().tolist() == expected
    assert found[0, :group].tolist() == [0.0] * group


def test_ties_go_to_the_even_code() -> None:
    x = torch.tensor([0.5, 1.5, 2.5, 3.5, -0.5, -1.5, -2.5, 126.5])
    assert nearest_(x, Integer(8)).tolist() == [0, 2, 2, 4, 0, -2, -2, 126]


@pytest.mark.parametrize("bits", range(2, 9))
def test_codes_are_symmetric_and_clamped(bits: int) -> None:
    n = Integer(bits).largest
    assert n == {2: 1, 3: 3, 4: 7, 5: 15, 6: 31, 7: 63, 8: 127}[bits]
    x = torch.tensor([-1e9, -float(n), 0.0, float(n), 1e9])
    assert nearest_(x, Integer(bits)).tolist() == [-n, -n, 0, n, n]


def test_zero_scale_gives_zero() -> None:
    x = torch.zeros(2, 3)
    assert rounded(x, per(Scope.TOKEN, 8)).tolist() == x.tolist()
    assert rounded(torch.ones(2), per(Scope.TENSOR, 8), 0.0).tolist() == [0, 0]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_sixteen_bit_values_get_float32_scales(dtype: torch.dtype) -> None:
    x = (torch.randn(4, 16) * 100).to(dtype)
    found = rounded(x, per(Scope.TOKEN, 8))
    assert found.dtype == dtype
    expected = torch.tensor([slow.row(r, max(abs(v) for v in r), 8) for r in x.float().tolist()])
    assert torch.equal(found, expected.to(dtype))


def test_the_input_is_not_changed() -> None:
    for side in (per(Scope.TOKEN, 4), Side(Integer(4, asymmetric=True), Scope.CHANNEL, block=2)):
        x = torch.randn(3, 4)
        before = x.clone()
        rounded(x, side)
        assert torch.equal(x, before)


def test_what_is_not_finite_spoils_its_group_alone() -> None:
    x = torch.tensor([[math.inf, 1.0, 1.0, 2.0], [1.0, math.nan, 1.0, 2.0]])
    for asymmetric in (False, True):
        found = rounded(x, Side(Integer(4, asymmetric), Scope.CHANNEL, block=2))
        assert found[:, :2].isnan().all()
        assert found[:, 2:].isfinite().all()


def test_gradients_pass_where_nothing_was_clamped() -> None:
    x = torch.tensor([-3.0, -1.0, 0.2, 0.0, 0.99, 1.003, 1.01], requires_grad=True)
    weights = torch.arange(1.0, 8.0)
    (rounded(x, per(Scope.TENSOR, 8), 1.0) * weights).sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [0.0, 2.0, 3.0, 4.0, 5.0, 6.0, 0.0]  # 1.003 still rounds to 127 steps, 1.01 does not
