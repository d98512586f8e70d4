"""What caches do along the window, in words: whether damage grows with distance, and whether kept sinks undo it.

The rules, by which every statement has its numbers and its interval:

- Damage grows under a cache where tokens in the second half of the window lose more than those in its first quarter.
  The difference is taken in each sequence, of mean changes per token, and its mean has an interval by a bootstrap over
  sequences: above 0 damage grows, below 0 it shrinks, else nothing can be told.
- Two caches that differ in nothing but the sink tokens that stay exact say what these win back: a share of what the
  cache without them costs, where the interval of that cost lies above 0. The share's interval is a bootstrap of the
  ratio over sequences: above 0 they win back, below 0 they make it worse, else nothing can be told.
"""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from sinkscope.intervals.loss_bootstrap import Array, ratio_interval
from sinkscope.methods.grammar import CacheRounding, Joined, split
from sinkscope.names import NONE
from sinkscope.report.quantization.sentences import apart, interval, methods, models, plain_rows, signed
from sinkscope.report.text import counted
from sinkscope.tables.run_folder import Run
from sinkscope.tables.unmitigated import unmitigated

POSITIONS, SUMS = "quantization_positions", "position_losses"


@dataclass(frozen=True)
class Growth:
    """How much more a method costs far into the window.

    Attributes:
        method: its name.
        near: mean change of the loss in the first quarter, in nats per token.
        far: in the second half.
        low: lower end of the interval of far less near; NaN where there is none.
        high: upper end.
    """

    method: str
    near: float
    far: float
    low: float
    high: float


def rounds_cache(method: str) -> bool:
    """Whether a method is one that rounds the cache, alone or with linear maps."""
    return isinstance(split(method)[1], CacheRounding)


def along_the_window(run: Run) -> list[str]:
    """Sentences on the caches of every model; none where there are no caches, or no losses by position."""
    names = [name for name in methods(run) if rounds_cache(name)]
    sentences = []
    for model in models(run):
        opening = f"{apart(run, model)}: " if apart(run, model) else ""
        if SUMS in run.tables:
            found = [one for name in names if (one := growth(run, model, name)) is not None]
            sentences += [opening + text for text in _of_growth(found)]
        sentences += [opening + text for text in _of_sinks(run, model, names)]
    return sentences


def growth(run: Run, model: str, method: str) -> Growth | None:
    """How much more a method costs far into the window; None without tokens near and far, or with losses not finite.

    Args:
        run: the run.
        model: one of its models.
        method: one of its methods.
    """
    near, far = _mean_changes(run, model, method, far=False), _mean_changes(run, model, method, far=True)
    more = (far - near).dropna()
    if not len(more) or not np.isfinite(more).all():
        return None
    differences: Array = np.asarray(more, dtype=np.float64)
    low, high = ratio_interval(differences, np.ones_like(differences), seed=_seed(run))
    return Growth(method, float(near[more.index].mean()), float(far[more.index].mean()), low, high)


def _mean_changes(run: Run, model: str, method: str, *, far: bool) -> "pd.Series[float]":
    """Each sequence's mean change of the loss per token, in the second half of the window or its first quarter."""
    table = unmitigated(run[SUMS])
    table = table[table["model"] == model]
    last = int(table["stop"].max())
    where = table["start"] >= last // 2 if far else table["stop"] <= last // 2 // 2
    sums = [table[where & (table["method"] == name)].groupby("sequence")[["loss_sum", "targets"]].agg(_whole_sum)
            for name in (method, NONE)]  # fmt: skip
    changes = sums[0]["loss_sum"] - sums[1]["loss_sum"]
    return changes / sums[1]["targets"].where(sums[1]["targets"] > 0)


def _whole_sum(values: "pd.Series[float]") -> float:
    """The sum, not finite where a part is not."""
    return float(values.to_numpy(dtype=float).sum())


def _of_growth(found: list[Growth]) -> list[str]:
    grows = [one for one in found if one.low > 0]
    shrinks = [one for one in found if one.high < 0]
    unclear = [one.method for one in found if not one.low > 0 and not one.high < 0]
    parts = [
        f"{one.method} costs {signed(one.near)} nats per token in the window's first quarter and {signed(one.far)} in "
        f"its second half, {signed(one.far - one.near)} ({interval(one.low, one.high)})"
        for one in grows + shrinks
    ]
    if grows and shrinks:
        opening = "damage changes with distance"
    else:
        opening = f"damage {'grows' if grows else 'shrinks'} with distance"
    sentences = [f"By position, {opening}: {'; '.join(parts)}."] if parts else []
    if unclear:
        sentences.append(f"By position, no change of the damage with distance can be told for {', '.join(unclear)}.")
    return sentences


def _of_sinks(run: Run, model: str, names: list[str]) -> list[str]:
    """What exact sinks win back, for every two caches that differ in nothing else."""
    sentences = []
    for name in names:
        of_maps, cache = split(name)
        if not isinstance(cache, CacheRounding) or not cache.sinks:
            continue
        without = replace(cache, sinks=0)
        plain = without.name if of_maps == NONE else Joined(of_maps, without).name
        if plain in names:
            sentences += [_won_back(run, model, plain, name, cache.sinks)]
    return [text for text in sentences if text]


def _won_back(run: Run, model: str, plain: str, kept: str, sinks: int) -> str:
    table = plain_rows(run)
    row = table[(table["model"] == model) & (table["method"] == plain)].iloc[0]
    if not row["delta_low"] > 0:
        return ""
    before, after, exact = (_sums(run, model, name) for name in (plain, kept, NONE))
    if not np.isfinite(after).all():
        return ""
    cost, won = before - exact, before - after
    low, high = ratio_interval(won, cost, seed=_seed(run))
    share = f"{100 * float(won.sum() / cost.sum()):.0f} % ({100 * low:.0f} to {100 * high:.0f} %)"
    tokens = f"the first {counted(sinks, 'token')}" if sinks > 1 else "the first token"
    if low > 0:
        return f"Keeping {tokens} exact wins back {share} of what {plain} costs."
    if high < 0:
        return f"Keeping {tokens} exact makes {plain} worse, by {share.replace('-', '')} of what it costs."
    return f"Keeping {tokens} exact makes no difference to {plain} that can be told: {share} of what it costs."


def _sums(run: Run, model: str, method: str) -> Array:
    rows = unmitigated(run["losses"])
    rows = rows[(rows["model"] == model) & (rows["method"] == method)]
    return rows["loss_sum"].to_numpy(dtype=np.float64)


def _seed(run: Run) -> int:
    return int(run.info["settings"].get("seed", 0))
