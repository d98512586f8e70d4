"""What the compared metrics are computed from: layer means of one run, as measured or as resampled.

The leading axis b counts draws; a run as it was measured has the single row of multiplicity 1 everywhere. A quantity is
one formula over layers then, the same for the measured value and for its draws: `sinkscope.quantities.over_layers`.
"""

from functools import cached_property

import numpy as np
import pandas as pd

from sinkscope.intervals.draws import Array, draws
from sinkscope.intervals.gradient_sink_blocks import block_products, ratios
from sinkscope.intervals.limits import Drawn
from sinkscope.quantities.measured import SLOPE, SLOPE_SUMS, TARGETS
from sinkscope.quantities.over_layers import Formula
from sinkscope.tables.run_folder import Run

_SEQUENCES, _BLOCKS = 0, 1  # streams of draws


class Sample:
    """Layer means of a run.

    Attributes:
        sequences: per-sequence values by metric, [sequence, layer]; NaN where a sequence has none.
    """

    def __init__(self, run: Run) -> None:
        self._run = run
        table = run["sequences"]
        count = int(table["sequence"].max()) + 1 if len(table) else 0
        self.sequences = {str(name): _matrix(rows, count) for name, rows in table.groupby("metric", sort=False)}
        self._targets = self.sequences.pop(TARGETS, None)
        sums = run.tables.get("slope_sums")
        if sums is not None and len(sums):
            for name in SLOPE_SUMS:
                self.sequences[f"{SLOPE}{name}"] = _matrix(sums.rename(columns={name: "value"}), count)

    @cached_property
    def _products(self) -> Array:
        return block_products(self._run["gradient_blocks"], len(self._run["layers"]))

    def by_layer(self, name: str) -> Array:
        """Values by layer, [b, layers], as `sinkscope.quantities.quantity.LayerValues` has them."""
        return self.gradient_sinks if name == "gradient_sink_ratio" else self.means(name)

    def means(self, metric: str) -> Array:
        """Mean over sequences by layer, [b, layers]; NaN where the run has no such metric."""
        if metric not in self.sequences:
            return np.full((1, 1), np.nan)
        values = self.sequences[metric]
        return _weighted(np.ones((1, len(values))), values, self._units_of(metric))

    def _units_of(self, metric: str) -> Array | None:
        """How many units the value of each sequence is the mean over, [sequence, 1]; None where equally many."""
        return self._targets if metric == "loss" else None

    @cached_property
    def gradient_sinks(self) -> Array:
        """R_GS by layer, [b, layers]; NaN where it is not defined."""
        return ratios(self._products)


class Resampled(Sample):
    """The same under bootstrap draws of sequences, and of blocks of sequences for gradients.

    Args:
        run: the run.
        count: how many draws.
        seed: of the comparison.
        stream: runs with the same stream and as many sequences see the same draws.
    """

    def __init__(self, run: Run, count: int, seed: int, stream: int) -> None:
        super().__init__(run)
        self._count, self._seed, self._stream = count, seed, stream
        self._units: list[int] = []  # of what a formula reads while it is computed

    def drawn(self, formula: Formula) -> Drawn:
        """A quantity under each draw, and how many units were resampled for it."""
        self._units = []
        values = formula(self)
        return Drawn(values, min(self._units, default=0))

    def by_layer(self, name: str) -> Array:
        """Values by layer under each draw, [b, layers]."""
        blocks = self._products.shape[-1] if name == "gradient_sink_ratio" else 0
        known = np.isfinite(self.sequences.get(name, np.empty((0, 1)))).any(1)
        self._units.append(blocks or int(known.sum()))
        return super().by_layer(name)

    @cached_property
    def _means(self) -> dict[str, Array]:
        """All metrics in one walk over the draws, so that each is drawn once."""
        parts: dict[str, list[Array]] = {name: [] for name in self.sequences}
        length = len(next(iter(self.sequences.values())))
        for weights in draws(length, self._count, self._seed, _SEQUENCES, self._stream):
            for name, values in self.sequences.items():
                parts[name].append(_weighted(weights, values, self._units_of(name)))
        return {name: np.concatenate(chunks) for name, chunks in parts.items()}

    def means(self, metric: str) -> Array:
        """Means by layer under each draw, [b, layers]."""
        if metric not in self.sequences or len(self.sequences[metric]) < 2:  # one sequence has no spread to resample
            return np.full((self._count, 1), np.nan)
        return self._means[metric]

    @cached_property
    def gradient_sinks(self) -> Array:
        """R_GS by layer under each draw of blocks, [b, layers]."""
        blocks = self._products.shape[-1]
        if blocks < 2:
            return np.full((self._count, 1), np.nan)
        chunks = draws(blocks, self._count, self._seed, _BLOCKS, self._stream)
        return np.concatenate([ratios(self._products, weights) for weights in chunks])


def _matrix(rows: pd.DataFrame, count: int) -> Array:
    """Values [sequence, layer] of one metric; a single column where it has no layers."""
    layers = rows["layer"].fillna(0).astype(int)
    values = np.full((count, layers.max() + 1), np.nan)
    values[rows["sequence"], layers] = rows["value"]
    return values


def _weighted(weights: Array, values: Array, units: Array | None) -> Array:
    """Weighted mean over sequences of what is there, each with as many units as it has: [b, layers]."""
    known = np.isfinite(values)
    each = known.astype(float) if units is None else known * units
    with np.errstate(invalid="ignore", divide="ignore"):
        mean: Array = (weights @ np.where(known, values if units is None else values * units, 0.0)) / (weights @ each)
    return mean
