"""From the losses of single sequences to the tables that compare methods, as a whole and by position."""

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


Key = tuple[str, str, str]  # model, method, mitigation
RangeKey = tuple[str, str, str, int, int]  # and a range of positions
_KEY = ["model", "method", "mitigation"]


def compare(
    losses: pd.DataFrame, chosen: Chosen, windows: dict[str, str], chose: dict[Key, str], *, seed: int
) -> pd.DataFrame:
    """The table `quantization`.

    Args:
        losses: the table `losses`.
        chosen: its methods.
        windows: SHA-256 of the windows by model.
        chose: what mitigations chose.
        seed: of the bootstrap.
    """
    rows = Rows("quantization")
    groups = {cast("Key", group): rows for group, rows in losses.groupby(_KEY, sort=False)}
    for (model, method, mitigation), measured in groups.items():
        exact = groups[model, NONE, NONE]
        plain = groups[model, method, NONE] if mitigation != NONE else None
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
            mitigation=mitigation,
            mitigation_chose=chose.get((model, method, mitigation), ""),
            **_against(measured, plain, seed=seed),
        )
    return rows.frame()


def paired(losses: pd.DataFrame, windows: dict[str, str], *, seed: int) -> pd.DataFrame:
    """The table `paired`: which of two changes is larger, sequence by sequence, so that what both share cancels.

    Two models as they were loaded are set against each other by their losses: what a GGUF file cost against the
    checkpoint that it was made of. Of one model, methods are set against each other under the same mitigation, and
    mitigations under the same method.

    Args:
        losses: the table `losses`.
        windows: SHA-256 of the windows by model; models that read others are not set against each other.
        seed: of the bootstrap.
    """
    measured = {cast("Key", group): rows for group, rows in losses.groupby(_KEY, sort=False)}
    changes = {
        key: _sums(rows) - (_sums(measured[key[0], NONE, NONE]) if key[1:] != (NONE, NONE) else 0.0)
        for key, rows in measured.items()
    }
    rows = Rows("paired")
    for one, other in combinations(changes, 2):
        same_model, same_method, same_mitigation = (a == b for a, b in zip(one, other, strict=True))
        if not same_model and not (same_method and same_mitigation and windows[one[0]] == windows[other[0]]):
            continue
        if same_model and (NONE in (one[1], other[1]) or not (same_method or same_mitigation)):
            continue  # that is the change itself, or differs in two things
        second, first = (one, other) if same_model else (other, one)  # of models, the later against the earlier
        counts = _counts(measured[second])
        differences = changes[second] - changes[first]
        low, high = ratio_interval(differences, counts, seed=seed)
        mean = float(differences.sum() / counts.sum())
        rows.add(model=second[0], method=second[1], other_model=first[0], other_method=first[1], difference=mean,
                 difference_low=low, difference_high=high, mitigation=second[2], other_mitigation=first[2])  # fmt: skip
    return rows.frame()


def compare_positions(losses: pd.DataFrame, *, seed: int) -> pd.DataFrame:
    """The table `quantization_positions`: loss and its change in every range of positions that holds a target.

    Args:
        losses: the table `position_losses`.
        seed: of the bootstrap.
    """
    rows = Rows("quantization_positions")
    losses = losses[losses["targets"] > 0]  # a sequence of isolated documents may have none far from their starts
    groups = {cast("RangeKey", key): part for key, part in losses.groupby([*_KEY, "start", "stop"], sort=False)}
    for (model, method, mitigation, start, stop), measured in groups.items():
        exact = groups[model, NONE, NONE, start, stop]
        rows.add(model=model, method=method, start=start, stop=stop, targets=int(measured["targets"].sum()),
                 loss=mean_loss(measured), **change(measured, exact, seed=seed), mitigation=mitigation)  # fmt: skip
    return rows.frame()


def change(measured: pd.DataFrame, exact: pd.DataFrame, *, seed: int) -> dict[str, float]:
    """The change of the loss on the same windows with its paired interval: delta, delta_low, delta_high."""
    differences = _sums(measured) - _sums(exact)
    low, high = ratio_interval(differences, _counts(exact), seed=seed)
    return {"delta": float(differences.sum() / _counts(exact).sum()), "delta_low": low, "delta_high": high}


def _against(measured: pd.DataFrame, plain: pd.DataFrame | None, *, seed: int) -> dict[str, float]:
    """The change against the same method without a mitigation."""
    found = {} if plain is None else change(measured, plain, seed=seed)
    return {f"against_unmitigated{end}": found.get(f"delta{end}", math.nan) for end in ("", "_low", "_high")}


def _sums(measured: pd.DataFrame) -> "np.ndarray[tuple[int], np.dtype[np.float64]]":
    return measured["loss_sum"].to_numpy(dtype=np.float64)


def _counts(measured: pd.DataFrame) -> "np.ndarray[tuple[int], np.dtype[np.float64]]":
    return measured["targets"].to_numpy(dtype=np.float64)


def _or_nan(bits: int | None) -> float:
    return math.nan if bits is None else float(bits)
