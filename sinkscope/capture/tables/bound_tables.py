"""The tables behind bounds and intervals: `bounds`, `scatter`, `gradient_blocks`, `sequences` and `slope_sums`.

Equation numbers are those of docs/definitions.md.
"""

import math

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from sinkscope.capture.statistics.bound_tally import Pair
from sinkscope.capture.statistics.slope_sums import SUMS
from sinkscope.capture.tables.collected import Collected
from sinkscope.quantities.measured import TARGETS
from sinkscope.sites import Site
from sinkscope.tables.builder import Rows

_SEQUENCE_SITES = (Site.H_OUT, Site.R_MLP, Site.R_ATTN)


def bounds(run: Collected) -> pd.DataFrame:
    """How often bounds (12) and (13) were checked, and how near measured values come."""
    rows = Rows("bounds")
    for (layer, bound), tally in sorted(run.recorder.bounds.items()):
        rows.add(
            layer=layer,
            bound=bound,
            checked=tally.checked,
            max_ratio=tally.largest if tally.checked else np.nan,
            mean_ratio=tally.total / tally.checked if tally.checked else np.nan,
            violations=tally.violations,
        )
    return rows.frame()


def scatter(run: Collected) -> pd.DataFrame:
    """Pairs of measured value and bound, and of mass and value gradient."""
    rows = Rows("scatter")

    def add(layer: int, kind: str, pairs: list[Pair], x_scale: float, y_scale: float) -> None:
        rows.add(
            layer=layer,
            kind=kind,
            kv_head=None if pairs[0].kv_head is None else np.array([pair.kv_head for pair in pairs]),
            sequence=np.array([pair.sequence for pair in pairs]),
            position=np.array([pair.position for pair in pairs]),
            x=np.array([pair.bound for pair in pairs]) / x_scale,
            y=np.array([pair.measured for pair in pairs]) / y_scale,
        )

    for (layer, bound), tally in sorted(run.recorder.bounds.items()):
        if tally.sampled:
            scale = 1.0 if tally.sampled[0].kv_head is None else run.divisor
            add(layer, bound, _in_order(tally.sampled), scale, scale)
    for layer, slope in sorted(run.recorder.slopes.items()):
        if slope.sampled:
            add(layer, "mass_slope", _in_order(slope.sampled), 1.0, run.divisor**2)
    return rows.frame()


def gradient_blocks(run: Collected) -> pd.DataFrame:
    """Inner products of the gradient sums of blocks of sequences."""
    rows = Rows("gradient_blocks")
    for layer, blocks in sorted(run.recorder.blocks.items()):
        dots = blocks.inner_products().cpu() / run.divisor**2
        i, j = torch.triu_indices(dots.shape[1], dots.shape[1])
        position = np.repeat(np.arange(dots.shape[0]), len(i))
        pairs = {name: np.tile(index.numpy(), dots.shape[0]) for name, index in (("block_i", i), ("block_j", j))}
        rows.add(layer=layer, position=position, **pairs, dot=dots[:, i, j].flatten().numpy())
    return rows.frame()


def sequences(run: Collected) -> pd.DataFrame:
    """What every sequence contributes to the averaged quantities."""
    rows = Rows("sequences")

    def add(layer: int | None, metric: str, values: Tensor) -> None:
        column = values.double().cpu().numpy()
        rows.add(layer=layer, sequence=np.arange(len(column)), metric=metric, value=column)

    if run.losses:
        add(None, "loss", torch.tensor(run.losses, dtype=torch.float32))
    if len(set(run.targets)) > 1:  # else each sequence weighs as much as any other
        add(None, TARGETS, torch.tensor(run.targets))
    for layer, heads in run.recorder.heads.items():
        add(layer, "sink_rate", heads.sink_rates.rows())
        add(layer, "abs_max", run.site(layer, Site.H_OUT).maxima)
        measured = {site: run.site(layer, site) for site in _SEQUENCE_SITES}
        of_site = {site: (statistics.token_zero, statistics.early) for site, statistics in measured.items()}
        values = run.recorder.values[layer]
        of_site[Site.V_SCALED] = (values.token_zero.rows(), values.early.rows())
        for site, (token_zero, early) in of_site.items():
            add(layer, f"{site}_t0", token_zero)
            add(layer, f"{site}_early", early)
    return rows.frame()


def slope_sums(run: Collected) -> pd.DataFrame:
    """What the slope of equation (11) and its interval are made of."""
    rows = Rows("slope_sums")
    for layer, slope in sorted(run.recorder.slopes.items()):
        numbers, order = slope.sequences.rows().cpu().sort(stable=True)  # gradients arrive in an order of their own
        sums = _per_unit(slope.sums.rows().cpu()[order], run.divisor)
        columns = {name: column.numpy() for name, column in zip(SUMS, sums.T, strict=True)}
        rows.add(layer=layer, sequence=numbers.numpy(), **columns)
    return rows.frame()


def _in_order(pairs: list[Pair]) -> list[Pair]:
    """By sequence: the gradients of passes that went back together arrive from the last to the first."""
    return sorted(pairs, key=lambda pair: pair.sequence)


def _per_unit(sums: Tensor, divisor: float) -> Tensor:
    """The sums with every y = ln |dL/dv|^2 lowered by ln divisor^2: gradients of the mean loss, not of the sum."""
    pairs, x, y, xx, xy, yy = sums.T
    shift = 2 * math.log(divisor)
    return torch.stack([pairs, x, y - shift * pairs, xx, xy - shift * x, yy - 2 * shift * y + shift**2 * pairs], dim=1)
