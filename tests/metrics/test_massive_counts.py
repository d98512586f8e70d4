"""Massive entries are counted also where more of them stand in a hidden state than are listed."""

import torch

from sinkscope.metrics.massive import largest_entries, massive_counts
from sinkscope.metrics.moments import token_moments
from sinkscope.metrics.sinks import norm_ranks


def counted(x: torch.Tensor, listed: int) -> list[list[int]]:
    median = x.abs().flatten(1).median(1).values
    return massive_counts(x, median, largest_entries(x, token_moments(x).abs_max, listed)).tolist()


def test_more_than_are_listed_one_channel_at_every_token() -> None:
    x = torch.full((2, 40, 16), 0.1)
    x[0, :, 3] = 500.0
    x[0, 7, 5] = -900.0
    x[1, 0, 3] = 400.0
    x[1, 0, 9] = 300.0
    assert counted(x, 8) == [[41, 40, 2], [2, 1, 2]]


def test_exactly_as_many_as_are_listed() -> None:
    x = torch.full((1, 6, 16), 0.1)
    x[0, :4, 2] = 200.0
    assert counted(x, 4) == [[4, 4, 1]]


def test_none_and_fewer_values_than_are_listed() -> None:
    assert counted(torch.ones(1, 3, 4), 32) == [[0, 0, 0]]
    large = torch.ones(1, 3, 4)
    large[0, 2, 1] = 5000.0
    assert counted(large, 32) == [[1, 1, 1]]


def test_ranks_are_one_more_than_the_number_of_larger_norms() -> None:
    norms = torch.tensor([[3.0, 9.0, 3.0, 1.0], [5.0, 5.0, 5.0, 7.0]])
    sequence, position = torch.tensor([0, 0, 0, 1, 1]), torch.tensor([0, 1, 3, 0, 3])
    assert norm_ranks(norms, sequence, position).tolist() == [2, 1, 4, 2, 1]
