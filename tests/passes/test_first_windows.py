"""The first windows of batches, however many a batch has."""

import pytest
import torch

from sinkscope.passes.batches import batches_of, first_windows

IDS = torch.arange(7 * 6).view(7, 6)
DOCUMENTS = (torch.arange(6) // 3).expand(7, 6)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 9])
@pytest.mark.parametrize("count", [0, 1, 3, 4, 7, 99])
@pytest.mark.parametrize("documents", [None, DOCUMENTS])
def test_as_many_as_are_asked_for(size: int, count: int, documents: torch.Tensor | None) -> None:
    first = first_windows(batches_of(IDS, documents, size), count)
    (whole,) = batches_of(IDS, documents, 7)
    taken = min(count, 7)
    assert sum(len(batch.input_ids) for batch in first) == taken
    assert all(len(batch.input_ids) <= size for batch in first)
    if taken:
        assert torch.equal(torch.cat([batch.input_ids for batch in first]), whole.input_ids[:taken])
        assert torch.equal(torch.cat([batch.targets for batch in first]), whole.targets[:taken])
    for batch in first:
        assert (batch.positions is None) == (documents is None)
        assert batch.positions is None or batch.positions.shape == batch.input_ids.shape
