"""Changes in place are counted."""

import torch

from sinkscope.compat.tensor_versions import version_of


def test_changes_in_place_are_counted() -> None:
    x = torch.zeros(3)
    before = version_of(x)
    assert before is not None
    _ = x + 1
    assert version_of(x) == before
    x.add_(1)
    x[0] = 2
    after = version_of(x)
    assert after is not None
    assert after > before
    with torch.inference_mode():
        assert version_of(torch.zeros(3)) is None
