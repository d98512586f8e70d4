"""A run's tables as values by layer: what the formulas of the headline numbers reduce.

There are two windows of early positions. NEIGHBOURS, positions 1 to 15, is what the norm of token 0 is
compared with in equations (3) and (4); it is fixed, and columns named `early` hold its mean. The setting `early` of a
run is the last position of the window of the gradient-sink ratio, equation (6): positions 1 to 31 unless set.
"""

from collections.abc import Mapping
from functools import cached_property

import numpy as np
import pandas as pd
from numpy.typing import NDArray

NEIGHBOURS = (1, 15)  # first and last of the positions that token 0 is compared with, equations (3) and (4)

SLOPE, SLOPE_SUMS = "slope_", ("pairs", "x", "y", "xx", "xy", "yy")  # of the table `slope_sums`, as values by layer
TARGETS = "targets"  # metric of the table `sequences` where they differ: what the losses are weighed with
_OF_LAYERS = ("sink_rate", "gradient_sink_ratio")
_OF_POSITIONS = ("h_out", "r_mlp", "r_attn")


class Measured:
    """The tables of one analysis.

    Attributes:
        tables: by name, as declared in `sinkscope.tables.columns`.
        epsilon: threshold on alpha_0 above which a head counts as a sink on average.
    """

    def __init__(self, tables: Mapping[str, pd.DataFrame], epsilon: float) -> None:
        self.tables = tables
        self.epsilon = epsilon
        self._norms: dict[str, pd.DataFrame] = {}

    def by_layer(self, name: str) -> NDArray[np.float64]:
        """Values [1, layers] as measured; NaN where the run has none."""
        if name in _OF_LAYERS:
            return _row(self.tables["layers"][name])
        if name.startswith(SLOPE):
            if "slope_sums" not in self.tables:  # a run of before this table
                return np.full((1, 1), np.nan)
            return _row(self.tables["slope_sums"].groupby("layer")[name.removeprefix(SLOPE)].mean())
        site, _, end = name.rpartition("_")
        if site in _OF_POSITIONS:
            return _row(self.norms(site)[end])
        rows = self.tables["sequences"]
        rows = rows[rows["metric"] == name]
        if rows["layer"].isna().all():  # one value for all layers, as the loss; or none
            return np.array([[self._loss(rows) if name == "loss" else rows["value"].mean()]])
        return _row(rows.groupby("layer")["value"].mean())

    def _loss(self, rows: pd.DataFrame) -> float:
        """The mean over all targets, of means over those of each sequence."""
        table = self.tables["sequences"]
        targets = table[table["metric"] == TARGETS].set_index("sequence")["value"]
        if not len(targets):  # equally many everywhere, or a run of before these rows
            return float(rows["value"].mean())
        return float((rows.set_index("sequence")["value"] * targets).sum() / targets.sum())

    def norms(self, site: str) -> pd.DataFrame:
        """`zero_and_neighbours` of a site, made once."""
        if site not in self._norms:
            self._norms[site] = zero_and_neighbours(self.tables["positions"], site)
        return self._norms[site]

    @cached_property
    def first_heads(self) -> pd.DataFrame:
        """The rows of `heads` for position 0."""
        heads = self.tables["heads"]
        return heads[heads["position"] == 0]

    @cached_property
    def residual_sites(self) -> pd.DataFrame:
        """The rows of `sites` for the residual stream, by layer."""
        return self.tables["sites"][self.tables["sites"]["site"] == "h_out"].set_index("layer")


def zero_and_neighbours(positions: pd.DataFrame, site: str) -> pd.DataFrame:
    """Norm of token 0, and mean and largest of the mean norms of NEIGHBOURS, by layer: columns t0, early, early_max."""
    rows = positions[positions["site"] == site]
    neighbours = rows[rows["position"].between(*NEIGHBOURS)].groupby("layer")["norm"]
    zero = rows[rows["position"] == 0].set_index("layer")["norm"]
    return pd.DataFrame({"t0": zero, "early": neighbours.mean(), "early_max": neighbours.max()})


def _row(values: "pd.Series[float]") -> NDArray[np.float64]:
    return np.asarray(values, dtype=np.float64)[None]
