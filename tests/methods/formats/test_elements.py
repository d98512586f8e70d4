"""Every floating-point format rounds as the slow reference does: all values, all ties, what lies beside and beyond."""

import math
from fractions import Fraction
from itertools import pairwise

import pytest
import slow_formats as slow
import torch

from sinkscope.methods.formats.rounding import nearest_, rounded
from sinkscope.methods.formats.side import Scope, Side
from sinkscope.methods.formats.table import ALIASES, E2M1, E2M3, E3M2, E4M3, E5M2, FORMATS, Element
from sinkscope.names import FORMATS as NAMES

ELEMENTS = {element.name: element for element in (E4M3, E5M2, E2M3, E3M2, E2M1)}


def telling(layout: str) -> list[float]:
    """All values, all midpoints, the float32 on either side of each, and what lies beyond; both signs."""
    values = slow.values(layout)
    points = [float(v) for v in values] + [float((a + b) / 2) for a, b in pairwise(values)]
    largest = float(values[-1])
    points += [largest * factor for factor in (1 + 2**-6, 1.03, 1.0625, 1.1, 1.5, 2, 1e6)]
    points += [math.inf, 2.0**-126, 2.0**-149, float(values[1] / 4)]
    tensor = torch.tensor(points)
    beside = [torch.nextafter(tensor, torch.tensor(end)) for end in (-math.inf, math.inf)]
    both = torch.cat([tensor, *beside])
    return [float(x) for x in torch.cat([both, -both])]


@pytest.mark.parametrize("name", ELEMENTS)
def test_every_value_tie_and_neighbour(name: str) -> None:
    points = telling(name)
    assert nearest_(torch.tensor(points), ELEMENTS[name]).tolist() == [slow.nearest(x, name) for x in points]
    assert nearest_(torch.tensor([math.nan]), ELEMENTS[name]).isnan().all()


def test_every_format_is_tested_and_named() -> None:
    assert {row.element.name for row in FORMATS.values()} == ELEMENTS.keys() == slow.LAYOUTS.keys()
    assert tuple(FORMATS) == NAMES
    assert set(ALIASES.values()) <= FORMATS.keys()
    assert not ALIASES.keys() & FORMATS.keys()


@pytest.mark.parametrize("element", ELEMENTS.values(), ids=ELEMENTS.keys())
def test_the_table_holds_what_the_layout_says(element: Element) -> None:
    values = slow.values(element.name)
    assert element.largest == float(values[-1])
    assert Fraction(2) ** (element.lowest - element.mantissa) == values[1]
    assert 2.0**element.highest <= element.largest < 2.0 ** (element.highest + 1)
    assert element.clamped_from == float(values[-1] + (values[-1] - values[-2]) / 2)
    assert 2 ** (element.bits - 1) - len(values) == slow.LAYOUTS[element.name][3]


@pytest.mark.parametrize(("element", "dtype"), [(E4M3, torch.float8_e4m3fn), (E5M2, torch.float8_e5m2)])
def test_torchs_own_cast_agrees_up_to_the_largest(element: Element, dtype: torch.dtype) -> None:
    points = torch.tensor([x for x in telling(element.name) if abs(x) <= element.largest])
    assert torch.equal(nearest_(points.clone(), element), points.to(dtype).float())
    every = torch.arange(256, dtype=torch.uint8).view(dtype).float()
    finite = every[every.isfinite()]
    assert torch.equal(nearest_(finite.clone(), element), finite)


@pytest.mark.parametrize("name", ["fp8", "fp8e5m2"])
@pytest.mark.parametrize("scope", Scope)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_scales_by_tensor_token_and_channel(name: str, scope: Scope, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    x = (torch.randn(5, 24) * torch.logspace(-4, 4, 5)[:, None]).to(dtype)
    x[2] = 0
    element = FORMATS[name].element
    rows = x.float().tolist()
    whole = max(slow.absmax(row) for row in rows)
    expected = [slow.float_row(r, whole if scope is Scope.TENSOR else slow.absmax(r), element.name) for r in rows]
    assert torch.equal(rounded(x, Side(element, scope)), torch.tensor(expected).to(dtype))
    static = Side(element, Scope.TENSOR, calibrated=True)
    clipped = [slow.float_row(r, whole / 8, element.name) for r in rows]
    assert torch.equal(rounded(x, static, whole / 8), torch.tensor(clipped).to(dtype))


def test_gradients_pass_where_nothing_was_clamped() -> None:
    x = torch.tensor([[1.0, 448.0, 460.0, 464.0, 465.0, -500.0, 0.0]], requires_grad=True)
    rounded(x, Side(E4M3, Scope.TENSOR, calibrated=True), 448.0).sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [[1.0, 1.0, 1.0, 1.0, 0.0, 0.0, 1.0]]
