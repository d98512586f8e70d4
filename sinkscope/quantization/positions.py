"""Loss by position: what a method costs tokens that stand early in their window, and those far into it.

Positions are those of the predicted tokens, from their window's first token, or their document's where documents are
kept apart. A window of T tokens is cut into halves from its end: the last range is its second half, the one before it
the second half of the first, and so on down to position 1. So ranges of windows of 2^n tokens begin at powers of two,
and the last one is never a scrap.

Damage that a cache does may grow with the number of rounded keys and values that a query sees; what a rounded weight
does need not. Everything is kept as sums by sequence, of which paired intervals are made.

Shapes: B sequences of T tokens.
"""

import re
from itertools import pairwise

import pandas as pd
import torch
from torch import Tensor

from sinkscope.passes.batches import IGNORED, Batch
from sinkscope.tables.builder import Rows

_COLUMN = re.compile(r"loss_sum_(\d+)_(\d+)")


def edges_of(tokens: int) -> list[int]:
    """Ends of the ranges of positions of a window: the token at t is in range s where edges[s] <= t < edges[s + 1]."""
    ends = [tokens]
    while ends[-1] > 1:
        ends.append(ends[-1] // 2)
    return ends[::-1]


def by_position(losses: Tensor, batch: Batch) -> pd.DataFrame:
    """Each sequence's sums by range of positions: columns `loss_sum_START_STOP` (nats) and `targets_START_STOP`.

    Args:
        losses: of every token behind each place [B, T], 0 where that is no target.
        batch: what was read.
    """
    tokens = batch.input_ids.shape[1]
    counted = batch.targets[:, 1:] != IGNORED
    place = torch.arange(tokens).expand_as(batch.input_ids) if batch.positions is None else batch.positions
    position, loss = place[:, 1:].cpu(), losses[:, :-1].double().cpu()
    columns = {}
    for start, stop in pairwise(edges_of(tokens)):
        inside = counted & (position >= start) & (position < stop)
        columns[f"loss_sum_{start}_{stop}"] = torch.where(inside, loss, 0.0).sum(1).numpy()
        columns[f"targets_{start}_{stop}"] = inside.sum(1).numpy()
    return pd.DataFrame(columns)


def position_losses(model: str, method: str, mitigation: str, measured: pd.DataFrame) -> pd.DataFrame:
    """Rows of the table `position_losses`.

    Args:
        model: its name.
        method: its name.
        mitigation: its name.
        measured: of `ranking.losses`, with the columns of `by_position`.
    """
    rows = Rows("position_losses")
    for match in filter(None, map(_COLUMN.fullmatch, measured.columns)):
        start, stop = map(int, match.groups())
        rows.add(model=model, method=method, sequence=range(len(measured)), start=start, stop=stop,
                 loss_sum=measured[match[0]].to_numpy(), targets=measured[f"targets_{start}_{stop}"].to_numpy(),
                 mitigation=mitigation)  # fmt: skip
    return rows.frame()
