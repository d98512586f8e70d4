"""From what was measured of each step to the tables of the run."""

import math
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from sinkscope.ablation import effects
from sinkscope.ablation.again import GRADIENT_SINK, SINK_RATE
from sinkscope.ablation.effects import Value
from sinkscope.ablation.published import published_super_weights
from sinkscope.ablation.scores import Array, Scores
from sinkscope.intervals.verdicts import NOT_JUDGED, REFERENCE
from sinkscope.intervals.wilson import wilson
from sinkscope.interventions.weights import SuperWeight
from sinkscope.names import NONE
from sinkscope.tables.builder import Rows

_NOWHERE = ""


@dataclass(frozen=True)
class Measured:
    """What was measured of one step, or of the untouched model.

    Attributes:
        what: its name.
        where: its place.
        unit: what its size counts.
        size: how much was taken away.
        scores: its losses.
        controls: those of its controls.
        quantities: headline numbers under it; empty where they were not measured.
        control_quantities: those under its first control.
        needles: which were found; empty where none were asked for.
        control_needles: those under its first control.
    """

    what: str
    where: str
    unit: str
    size: float
    scores: Scores
    controls: list[Scores] = field(default_factory=list)
    quantities: dict[str, Any] = field(default_factory=dict)
    control_quantities: dict[str, Any] = field(default_factory=dict)
    needles: list[bool] = field(default_factory=list)
    control_needles: list[bool] = field(default_factory=list)


def untouched(scores: Scores, quantities: dict[str, Any], needles: list[bool]) -> Measured:
    """The untouched model."""
    return Measured(NONE, _NOWHERE, "", 0.0, scores, quantities=quantities, needles=needles)


def tables(
    measured: list[Measured], edges: "np.ndarray[Any, Any]", *, seed: int, margin: float
) -> dict[str, pd.DataFrame]:
    """The tables of what was measured, but for super weights.

    Args:
        measured: the untouched model, then the steps; empty where nothing could be taken away.
        edges: ends of the bins of positions.
        seed: of the bootstrap.
        margin: of the verdicts.
    """
    ablations, losses, positions = Rows("ablations"), Rows("ablation_losses"), Rows("ablation_positions")
    quantities, needles = Rows("ablation_quantities"), Rows("ablation_needles")
    for one in measured:
        _add_ablation(ablations, one, seed=seed, margin=margin)
        for draw, scores in enumerate([one.scores, *one.controls], start=-1):
            losses.add(what=one.what, where=one.where, draw=draw, sequence=np.arange(len(scores.loss)),
                       loss_sum=scores.loss.sum(1), exact_sum=scores.exact.sum(1), kl_sum=scores.kl.sum(1),
                       targets=scores.targets.sum(1).astype(int))  # fmt: skip
        _add_positions(positions, one, edges, seed)
        for name, value in one.quantities.items():
            if name != "failed":
                quantities.add(what=one.what, where=one.where, quantity=name, value=value,
                               control=one.control_quantities.get(name, math.nan))  # fmt: skip
        if one.needles:
            low, high = wilson(sum(one.needles), len(one.needles))
            control = float(np.mean(one.control_needles)) if one.control_needles else math.nan
            needles.add(what=one.what, where=one.where, needles=len(one.needles), score=float(np.mean(one.needles)),
                        low=low, high=high, control=control)  # fmt: skip
    made = {rows.table: rows.frame() for rows in (ablations, losses, positions, quantities)}
    asked = needles.frame()
    return made | ({"ablation_needles": asked} if len(asked) else {})


def super_weights(found: list[SuperWeight], name: str) -> pd.DataFrame:
    """The table `super_weights`: those that were found, and the published ones of the model.

    Args:
        found: by one forward pass.
        name: of the model.
    """
    rows, published = Rows("super_weights"), published_super_weights(name)
    for weight in found:
        source = "found, published" if weight.at in published else "found"
        rows.add(layer=weight.at.layer, row=weight.at.row, column=weight.at.column, value=weight.value,
                 position=weight.position, entering=weight.entering, leaving=weight.leaving, share=weight.share,
                 source=source)  # fmt: skip
    for at in published:
        if at not in [weight.at for weight in found]:
            rows.add(layer=at.layer, row=at.row, column=at.column, value=math.nan, position=-1, entering=math.nan,
                     leaving=math.nan, share=math.nan, source="published")  # fmt: skip
    return rows.frame()


def headline(ablations: pd.DataFrame) -> dict[str, Any]:
    """The numbers that one sees first, by intervention and place."""
    columns = ["change", "change_low", "change_high", "control_change", "verdict", "control_verdict"]
    rows = ablations[ablations["what"] != NONE]
    return {f"{row['what']}, {row['where']}": {name: row[name] for name in columns} for _, row in rows.iterrows()}


def _add_ablation(rows: Rows, one: Measured, *, seed: int, margin: float) -> None:
    is_reference = one.what == NONE
    loss = effects.loss(one.scores, seed)
    change = Value() if is_reference else effects.change(one.scores, seed)
    control_loss = control = excess = Value()
    control_kl = math.nan
    if one.controls:
        control_loss = effects.control_loss(one.controls, seed)
        control = effects.control_change(one.controls, seed)
        excess = effects.excess(one.scores, one.controls, seed)
        control_kl = float(np.mean([effects.divergence(scores) for scores in one.controls]))
    rows.add(
        what=one.what,
        where=one.where,
        size=one.size,
        unit=one.unit,
        loss=loss.value,
        loss_low=loss.low,
        loss_high=loss.high,
        control_mean=control_loss.value,
        control_low=control_loss.low,
        control_high=control_loss.high,
        kl=math.nan if is_reference else effects.divergence(one.scores),
        sink_rate=one.quantities.get(SINK_RATE, math.nan),
        gradient_sink_ratio=one.quantities.get(GRADIENT_SINK, math.nan),
        verdict=REFERENCE if is_reference else effects.word(change, margin),
        perplexity=effects.perplexity(loss.value),
        change=change.value,
        change_low=change.low,
        change_high=change.high,
        draws=len(one.controls),
        control_change=control.value,
        control_change_low=control.low,
        control_change_high=control.high,
        control_kl=control_kl,
        excess=excess.value,
        excess_low=excess.low,
        excess_high=excess.high,
        control_verdict=effects.word(excess, margin) if one.controls else NOT_JUDGED,
    )


def _add_positions(rows: Rows, one: Measured, edges: Array, seed: int) -> None:
    for number, (start, stop) in enumerate(pairwise(edges)):
        bins = slice(number, number + 1)
        if not one.scores.targets[:, bins].sum():
            continue
        loss, change, control = effects.loss(one.scores, seed, bins), Value(), Value()
        if one.what != NONE:
            change = effects.change(one.scores, seed, bins)
        if one.controls and all(scores.targets[:, bins].sum() for scores in one.controls):
            control = effects.control_change(one.controls, seed, bins)
        rows.add(what=one.what, where=one.where, start=int(start), stop=int(stop),
                 loss=loss.value, loss_low=loss.low, loss_high=loss.high, perplexity=effects.perplexity(loss.value),
                 change=change.value, change_low=change.low, change_high=change.high, control_change=control.value,
                 control_change_low=control.low, control_change_high=control.high)  # fmt: skip
