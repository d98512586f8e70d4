"""From sums by sequence to changes with intervals, and the words that follow from them.

    change    loss with something taken away minus that of the untouched model, on the same tokens
    control   the mean change over draws of the same size
    excess    the change minus that of the control

Intervals are 95 %: Student's t with the spread of 10,000 bootstrap draws of sequences, paired, so that what texts
have in common cancels. That of a control also covers its draws: with s the standard deviation of their n means,
t_{n-1} s / sqrt(n) is added, squared, to half of the interval's width squared. Words are those of `compare` for the
ratio of perplexities.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from sinkscope.ablation.scores import Array, Scores
from sinkscope.intervals.limits import student
from sinkscope.intervals.loss_bootstrap import ratio_interval
from sinkscope.intervals.verdicts import verdict

_OVERFLOW = 700.0  # exp of more does not fit a float


class Value(NamedTuple):
    """A number with its 95 % interval; NaN where there is none."""

    value: float = math.nan
    low: float = math.nan
    high: float = math.nan


def loss(scores: Scores, seed: int, bins: slice = slice(None)) -> Value:
    """The mean loss, in some bins of positions or all."""
    return _ratio(_by_sequence(scores.loss, bins), _by_sequence(scores.targets, bins), seed)


def divergence(scores: Scores) -> float:
    """The mean divergence from the untouched model."""
    return float(scores.kl.sum() / scores.targets.sum())


def change(scores: Scores, seed: int, bins: slice = slice(None)) -> Value:
    """The change of the loss."""
    return _ratio(_by_sequence(scores.loss - scores.exact, bins), _by_sequence(scores.targets, bins), seed)


def control_loss(controls: Sequence[Scores], seed: int) -> Value:
    """The mean loss over controls."""
    mean = _ratio(_mean(controls, "loss"), _mean(controls, "targets"), seed)
    return _widened(mean, [float(c.loss.sum() / c.targets.sum()) for c in controls])


def control_change(controls: Sequence[Scores], seed: int, bins: slice = slice(None)) -> Value:
    """The mean change over controls."""
    sums = _mean(controls, "loss", bins) - _mean(controls, "exact", bins)
    return _widened(_ratio(sums, _mean(controls, "targets", bins), seed), [_changed(c, bins) for c in controls])


def excess(scores: Scores, controls: Sequence[Scores], seed: int) -> Value:
    """The change minus that of the controls: paired by sequence where all compare the same number of tokens."""
    own, targets = _by_sequence(scores.loss - scores.exact), _by_sequence(scores.targets)
    others, their_targets = _mean(controls, "loss") - _mean(controls, "exact"), _mean(controls, "targets")
    if np.array_equal(targets, their_targets):
        paired = _ratio(own - others, targets, seed)
    else:  # each per token of its own
        scale = targets.sum() / their_targets.sum()
        paired = _ratio(own - others * scale, targets, seed)
    return _widened(paired, [_changed(control) for control in controls])


def word(of: Value, margin: float) -> str:
    """The verdict of `compare` on the ratio of perplexities that a change of the loss makes."""
    low, high = (math.exp(min(end, _OVERFLOW)) if not math.isnan(end) else math.nan for end in (of.low, of.high))
    return verdict(low, high, margin, cost=True)


def perplexity(value: float) -> float:
    """Exp of a loss, as far as a float reaches."""
    return math.exp(min(value, _OVERFLOW))


def _widened(mean: Value, by_draw: Sequence[float]) -> Value:
    """An interval over sequences, with what other draws would change on top; with one draw nothing is known of that."""
    if len(by_draw) < 2 or math.isnan(mean.low):
        return mean
    spread = student(len(by_draw) - 1) * float(np.std(by_draw, ddof=1)) / math.sqrt(len(by_draw))
    half = math.hypot((mean.high - mean.low) / 2, spread)
    return Value(mean.value, mean.value - half, mean.value + half)


def _ratio(sums: Array, targets: Array, seed: int) -> Value:
    with np.errstate(invalid="ignore"):
        low, high = ratio_interval(sums, targets, seed=seed)
        return Value(float(sums.sum() / targets.sum()), low, high)


def _changed(scores: Scores, bins: slice = slice(None)) -> float:
    return float((scores.loss - scores.exact)[:, bins].sum() / scores.targets[:, bins].sum())


def _by_sequence(sums: Array, bins: slice = slice(None)) -> Array:
    total: Array = sums[:, bins].sum(1)
    return total


def _mean(controls: Sequence[Scores], name: str, bins: slice = slice(None)) -> Array:
    mean: Array = np.mean([_by_sequence(getattr(control, name), bins) for control in controls], axis=0)
    return mean
