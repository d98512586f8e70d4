"""Medians by bracketing and rank correlations agree with torch's and scipy's plain ones."""

from collections.abc import Callable

import pytest
import torch
from scipy.stats import spearmanr
from torch import Tensor

from sinkscope.metrics.order import SAMPLE, WHOLE, median_magnitude, spearman

LARGE = WHOLE + 75_713  # above the size from which the bracket is used

DRAWS: dict[str, Callable[[int], Tensor]] = {
    "normal": torch.randn,
    "heavy tails": lambda n: torch.randn(n) ** 5,
    "constant": torch.ones,
    "few values": lambda n: torch.randint(0, 4, (n,)).float(),
    "sorted": lambda n: torch.arange(n).float(),
    "sample misses": lambda n: torch.arange(n).remainder(2).float() * torch.rand(n),
    "mostly zero": lambda n: torch.rand(n) * (torch.rand(n) > 0.5001),
}


@pytest.mark.parametrize("draw", list(DRAWS))
@pytest.mark.parametrize("size", [1, 2, 5, 1000, 200_000, LARGE, LARGE + 1])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_median_of_magnitudes_is_torchs(draw: str, size: int, dtype: torch.dtype) -> None:
    torch.manual_seed(size)
    x = DRAWS[draw](size).to(dtype)
    assert median_magnitude(x) == x.abs().median()


def test_a_misled_sample_falls_back_to_plain_selection() -> None:
    """Every sampled element is 1 while the median is 0."""
    x = torch.zeros(LARGE)
    x[:: LARGE // SAMPLE | 1] = 1.0
    assert median_magnitude(x) == 0


@pytest.mark.parametrize("ties", [False, True])
def test_spearman_is_scipys(ties: bool) -> None:
    torch.manual_seed(0)
    x, y = torch.randn(50), torch.randn(50)
    if ties:
        x, y = (x * 2).round(), (y * 2).round()
    assert spearman(x, y) == pytest.approx(spearmanr(x, y).statistic, rel=1e-12)


def test_spearman_is_undefined_for_constants_and_single_points() -> None:
    assert spearman(torch.ones(5), torch.arange(5.0)) != spearman(torch.ones(5), torch.arange(5.0))  # NaN
    assert spearman(torch.ones(1), torch.ones(1)) != spearman(torch.ones(1), torch.ones(1))
