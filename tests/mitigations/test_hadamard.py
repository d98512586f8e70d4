"""Hadamard matrices against their definition, and Kronecker products against dense ones."""

import pytest
import torch

from sinkscope.mitigations.hadamard import orthogonal, paley, signs, sylvester

PALEY = (4, 8, 12, 20, 24, 28, 36, 44, 60, 76)


@pytest.mark.parametrize("order", PALEY)
def test_paleys_matrices_are_hadamards(order: int) -> None:
    matrix = paley(order)
    assert matrix is not None
    assert set(matrix.unique().tolist()) == {-1.0, 1.0}
    assert torch.equal(matrix @ matrix.T, order * torch.eye(order).double())


@pytest.mark.parametrize("order", [1, 2, 3, 6, 10, 22, 92])
def test_orders_that_are_not_paleys(order: int) -> None:
    assert order == 2 or paley(order) is None


@pytest.mark.parametrize("order", [1, 2, 64])
def test_sylvester(order: int) -> None:
    matrix = sylvester(order)
    assert torch.equal(matrix @ matrix.T, order * torch.eye(order).double())


@pytest.mark.parametrize(
    ("width", "kind"),
    [
        (64, "Hadamard, 64"),
        (576, "Hadamard, 576 = 16 x 36"),
        (1536, "Hadamard, 1536 = 128 x 12"),
        (36, "Hadamard, 36"),
        (50, "random orthogonal, 50"),
        (1, "Hadamard, 1"),
    ],
)
def test_every_width_has_an_orthogonal_matrix(width: int, kind: str) -> None:
    one = orthogonal(width, 3)
    dense = one.dense()
    assert one.kind == kind
    assert one.width == width == len(dense)
    assert torch.allclose(dense @ dense.T, torch.eye(width).double(), atol=1e-12)
    if kind.startswith("Hadamard"):
        assert torch.allclose(dense.abs(), torch.full_like(dense, width**-0.5))
    x = torch.randn(3, 2, width, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(one.times(x), (x.double() @ dense).float(), atol=1e-5)
    assert one.times(x.bfloat16()).dtype is torch.bfloat16


def test_what_is_drawn_follows_the_seed() -> None:
    assert torch.equal(orthogonal(50, 3).dense(), orthogonal(50, 3).dense())
    assert not torch.equal(orthogonal(50, 3).dense(), orthogonal(50, 4).dense())
    assert set(signs(100, 0).tolist()) == {-1.0, 1.0}
