"""From the losses of single sequences to the table that compares methods."""

import math
from itertools import combinations
from typing import cast

import numpy as np
import pandas as pd

from sinkscope.intervals.loss_bootstrap import ratio_interval
from sinkscope.methods.choose import Chosen, bits_and_granularity
from sinkscope.names import NONE
from sinkscope.quantization.ranking import mean_loss
from sinkscope.tables.builder import Rows

_OVERFLOW = 700.0  # exp of more does not fit a float


def compare(losses: pd.DataFrame, chosen: Chosen, windows: dict[str, str], *, seed: int) -> pd.DataFrame:
    """The table `quantization`.

    Args:
        losses: the table `losses`.
        chosen: its methods.
        windows: SHA-256 of the windows by model.
        seed: of the bootstrap.
    """
    rows = Rows("quantization")
    for group, measured in losses.groupby(["model", "method"], sort=False):
        model, method = cast("tuple[str, str]", group)
        exact = losses[(losses["model"] == model) & (losses["method"] == NONE)]
        weight_bits, activation_bits, granularity = bits_and_granularity(chosen, method)
        loss = mean_loss(measured)
        low, high = ratio_interval(_sums(measured), _counts(measured), seed=seed)
        rows.add(
            model=model,
            method=method,
            weight_bits=_or_nan(weight_bits),
            activation_bits=_or_nan(activation_bits),
            granularity=granularity,
            loss=loss,
            loss_low=low,
            loss_high=high,
            perplexity=math.exp(min(loss, _OVERFLOW)),
            **change(measured, exact, seed=seed),
            windows=windows[model][:12],
        )
    return rows.frame()


def paired(losses: pd.DataFrame, windows: dict[str, str], *, seed: int) -> pd.DataFrame:
    """The table `paired`: which of two changes is larger, sequence by sequence, so that what both share cancels.

    Two models as they were loaded are set against each other by their losses: what a GGUF file cost against the
    checkpoint that it was made of.

    Args:
        losses: the table `losses`.
        windows: SHA-256 of the windows by model; models that read others are not set against each other.
        seed: of the bootstrap.
    """
    measured = {cast("tuple[str, str]", group): rows for group, rows in losses.groupby(["model", "method"], sort=False)}
    changes = {
        (model, method): _sums(rows) - (_sums(measured[model, NONE]) if method != NONE else 0.0)
        for (model, method), rows in measured.items()
    }
    rows = Rows("paired")
    for one, other in combinations(changes, 2):
        same_model, same_method = one[0] == other[0], one[1] == other[1]
        if not same_model and not (same_method and windows[one[0]] == windows[other[0]]):
            continue
        if same_model and NONE in (one[1], other[1]):
            continue  # that is the change itself
        second, first = (one, other) if same_model else (other, one)  # of models, the later against the earlier
        counts = _counts(measured[second])
        differences = changes[second] - changes[first]
        low, high = ratio_interval(differences, counts, seed=seed)
        mean = float(differences.sum() / counts.sum())
        rows.add(model=second[0], method=second[1], other_model=first[0], other_method=first[1], difference=mean,
                 difference_low=low, difference_high=high)  # fmt: skip
    return rows.frame()


def change(measured: pd.DataFrame, exact: pd.DataFrame, *, seed: int) -> dict[str, float]:
    """The change of the loss on the same windows with its paired interval: delta, delta_low, delta_high."""
    differences = _sums(measured) - _sums(exact)
    low, high = ratio_interval(differences, _counts(exact), seed=seed)
    return {"delta": float(differences.sum() / _counts(exact).sum()), "delta_low": low, "delta_high": high}


def _sums(measured: pd.DataFrame) -> "np.ndarray[tuple[int], np.dtype[np.float64]]":
    return measured["loss_sum"].to_numpy(dtype=np.float64)


def _counts(measured: pd.DataFrame) -> "np.ndarray[tuple[int], np.dtype[np.float64]]":
    return measured["targets"].to_numpy(dtype=np.float64)


def _or_nan(bits: int | None) -> float:
    return math.nan if bits is None else float(bits)
