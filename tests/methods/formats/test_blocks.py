"""Block formats: scales at the edges of blocks and of their range, zeros, infinities, NaN and subnormals."""

import math
from itertools import pairwise

import pytest
import slow_formats as slow
import torch
from torch import Tensor

from sinkscope.methods.formats.rounding import rounded
from sinkscope.methods.formats.side import Scope, Side
from sinkscope.methods.formats.table import FORMATS

NVFP4 = FORMATS["nvfp4"]


def side_of(name: str, scope: Scope = Scope.TOKEN, *, calibrated: bool = False) -> Side:
    row = FORMATS[name]
    return Side(row.element, scope, row.scales, row.block, calibrated)


def blocks(row: Tensor, size: int) -> list[list[float]]:
    return [[float(v) for v in block] for block in row.float().split(size)]


def same(found: Tensor, expected: list[float]) -> None:
    torch.testing.assert_close(found.float(), torch.tensor(expected), rtol=0, atol=0, equal_nan=True)


def trying(count: int) -> Tensor:
    """Rows of blocks of 32 whose largest values lie around powers of two, over the whole range of float32."""
    torch.manual_seed(0)
    rows = []
    for exponent in (-149, -140, -127, -126, -125, -60, -9, -1, 0, 1, 2, 8, 60, 126, 127):
        for top in (1.0, 1 - 2**-24, 1.5, 1.75, 1.7500001, 1.875, 1.96875, 2 - 2**-23):
            block = torch.rand(32, dtype=torch.float64) * 2 - 1
            block[int(torch.randint(32, ()))] = top
            rows.append((block * 2.0**exponent).float())
    return torch.cat(rows).view(count, -1)


@pytest.mark.parametrize("name", slow.FORMATS)
def test_mx_blocks_over_the_whole_range(name: str) -> None:
    x = trying(4)
    expected = [v for row in x for block in blocks(row, 32) for v in slow.mx_block(block, slow.FORMATS[name])]
    same(rounded(x, side_of(name)).flatten(), expected)


@pytest.mark.parametrize("name", slow.FORMATS)
def test_mx_scales_change_at_the_edges_of_blocks(name: str) -> None:
    x = torch.zeros(2, 96)
    x[0, 31], x[0, 32], x[0, 63], x[0, 64] = 1000.0, 0.001, 0.0011, -3.0
    x[1] = torch.linspace(-7, 7, 96)
    expected = [v for row in x for block in blocks(row, 32) for v in slow.mx_block(block, slow.FORMATS[name])]
    same(rounded(x, side_of(name)).flatten(), expected)
    assert rounded(x, side_of(name))[0, 32] != 0  # the outlier beside it is in another block


@pytest.mark.parametrize("name", [*slow.FORMATS, "nvfp4"])
def test_zeros_and_what_is_not_finite(name: str) -> None:
    size = FORMATS[name].block or 0
    x = torch.ones(4, 2 * size)
    x[0] = 0
    x[1, 0], x[2, 0] = math.inf, math.nan
    x[3, :size] = 0
    found = rounded(x, side_of(name))
    assert found[0].tolist() == [0.0] * (2 * size)
    assert found[1:3, :size].isnan().all()
    assert found[3].tolist() == [0.0] * size + [1.0] * size
    if name != "nvfp4":  # there the scale above is the token's
        assert found[1:3, size:].eq(1).all()


def test_mx_clamps_what_its_power_of_two_leaves_out() -> None:
    """The largest |x| of a block may be nearly twice its power of two, and E2M1 ends at 1.5 times one."""
    x = torch.zeros(1, 32)
    x[0, :4] = torch.tensor([7.9, 6.9, 4.9, 0.3])
    assert rounded(x, side_of("mxfp4"))[0, :4].tolist() == [6.0, 6.0, 4.0, 0.5]


@pytest.mark.parametrize("scope", [Scope.TOKEN, Scope.TENSOR])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_nvfp4_blocks(scope: Scope, dtype: torch.dtype) -> None:
    torch.manual_seed(1)
    x = (torch.randn(6, 64) * torch.logspace(-6, 3, 64)).to(dtype)
    x[1] *= 1e-3
    x[2, :16] = 0
    x[3, 16:32] = torch.tensor([6.0, 5.0, 3.5, 2.5, 1.75, 1.25, 0.75, 0.25] * 2)
    whole = slow.absmax(x.float().flatten().tolist())
    expected = []
    for row in x:
        above = whole if scope is Scope.TENSOR else slow.absmax(row.float().tolist())
        expected += [v for block in blocks(row, 16) for v in slow.nvfp4_block(block, above)]
    assert torch.equal(rounded(x, side_of("nvfp4", scope)).flatten(), torch.tensor(expected).to(dtype))


def test_nvfp4_scales_meet_every_step_of_e4m3() -> None:
    """Blocks whose shares of the tensor's scale are every value of E4M3, every tie between two, and less than all."""
    codes = [float(v) for v in slow.values("e4m3")]
    shares = sorted({*codes, *((a + b) / 2 for a, b in pairwise(codes)), 2.0**-12, 2.0**-20})
    x = torch.zeros(len(shares), 16)
    x[:, 0] = torch.tensor([6 * share for share in shares])
    x[:, 1:] = x[:, :1] * torch.linspace(-1, 1, 15)
    row = x.flatten()[None]
    expected = [v for block in blocks(row[0], 16) for v in slow.nvfp4_block(block, 6 * 448.0)]
    same(rounded(row, side_of("nvfp4", Scope.TENSOR))[0], expected)


def test_nvfp4_calibrated_clamps_its_block_scales() -> None:
    x = torch.full((1, 16), 100.0)
    found = rounded(x, side_of("nvfp4", Scope.TENSOR, calibrated=True), 10.0)
    same(found[0], slow.nvfp4_block([100.0] * 16, 10.0))
    assert float(found[0, 0]) == pytest.approx(10.0)


def test_torchaos_mx_agrees() -> None:
    pytest.importorskip("torchao")
    from torchao.prototype.mx_formats.mx_tensor import MXTensor, ScaleCalculationMode

    torch.manual_seed(2)
    x = torch.randn(8, 64) * torch.logspace(-3, 3, 64)
    for name, dtype in (("mxfp8", torch.float8_e4m3fn), ("mxfp8e5m2", torch.float8_e5m2),
                        ("mxfp4", torch.float4_e2m1fn_x2)):  # fmt: skip
        theirs = MXTensor.to_mx(x, dtype, 32, ScaleCalculationMode.FLOOR).dequantize(torch.float32)
        assert torch.equal(rounded(x, side_of(name)), theirs), name


def test_torchaos_nvfp4_agrees() -> None:
    pytest.importorskip("torchao")
    from torchao.prototype.mx_formats.nvfp4_tensor import NVFP4Tensor, per_tensor_amax_to_scale

    torch.manual_seed(3)
    x = torch.randn(16, 64)
    theirs = NVFP4Tensor.to_nvfp4(x, per_tensor_scale=per_tensor_amax_to_scale(x.abs().amax()))
    torch.testing.assert_close(rounded(x, side_of("nvfp4", Scope.TENSOR)), theirs.dequantize(torch.float32))
