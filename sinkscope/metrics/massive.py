"""Massive activations: entries that dwarf the rest of their hidden state (equation 5; Sun et al., COLM 2024)."""

from typing import NamedTuple

import torch
from torch import Tensor

ABSOLUTE = 100.0
RELATIVE = 1000.0


class Entries(NamedTuple):
    """The largest entries of hidden states, each [N, K], largest first.

    Attributes:
        position: token position.
        channel: index in the hidden dimension.
        value: the entry, float32.
    """

    position: Tensor
    channel: Tensor
    value: Tensor


def largest_entries(x: Tensor, token_max: Tensor, count: int) -> Entries:
    """The `count` entries of largest magnitude of each hidden state.

    The k largest entries lie in the k tokens with the largest maxima, so only those tokens are searched.

    Args:
        x: hidden states [N, T, D].
        token_max: largest |x| per token, or its square [N, T].
        count: k, capped by T * D.
    """
    _, T, D = x.shape
    rows = token_max.topk(min(count, T), dim=1).indices
    candidates = x.gather(1, rows[..., None].expand(-1, -1, D)).float().flatten(1)
    largest = candidates.abs().topk(min(count, T * D, candidates.shape[1]), dim=1).indices
    return Entries(rows.gather(1, largest // D), largest % D, candidates.gather(1, largest))


def is_massive(value: Tensor, median: Tensor) -> Tensor:
    """|value| > 100 and at least 1000 times the median |x| of the same sequence, layer and site."""
    return (value.abs() > ABSOLUTE) & (value.abs() >= RELATIVE * median)


def massive_counts(x: Tensor, median: Tensor, listed: Entries) -> Tensor:
    """How many massive entries each hidden state has, at how many positions, in how many channels: int64 [N, 3].

    Where the smallest of the listed entries is not massive, all massive ones are listed, and counting them is enough.

    Args:
        x: hidden states [N, T, D].
        median: median |x| of each [N].
        listed: its largest entries, largest first.
    """
    if not bool((listed.value[:, 0].abs() > ABSOLUTE).any()):
        return torch.zeros(len(median), 3, dtype=torch.int64, device=median.device)
    massive = is_massive(listed.value, median[:, None])
    some, beyond = torch.stack([massive.any(1), massive[:, -1]]).tolist()
    counts = []
    for n, more in enumerate(beyond):
        if not some[n]:
            counts.append(torch.zeros(3, dtype=torch.int64, device=x.device))
        elif more:
            everywhere = is_massive(x[n].float(), median[n])
            counts.append(torch.stack([everywhere.sum(), everywhere.any(1).sum(), everywhere.any(0).sum()]))
        else:
            kept = massive[n]
            places = (_distinct(place[n], kept) for place in (listed.position, listed.channel))
            counts.append(torch.stack([kept.sum(), *places]))
    return torch.stack(counts)


def _distinct(values: Tensor, kept: Tensor) -> Tensor:
    """How many different values are kept, without asking a device for their number."""
    ordered = torch.where(kept, values, -1).sort().values
    return (ordered.diff(prepend=ordered.new_full((1,), -1)) != 0).sum()


def ratio_to_median(value: Tensor, median: Tensor) -> Tensor:
    """|value| over the median, null (NaN) where the median is 0."""
    return torch.where(median > 0, value.abs() / median, torch.nan)
