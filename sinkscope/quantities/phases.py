"""Phases of the norm of token 0 over the depth: stretches of layers on one level, and the jumps between them.

The ratio of the residual norm of token 0 to that of its neighbours, equation (3), drifts slowly inside a stretch of
layers, as the neighbours grow, and jumps where a block writes or erases a massive activation. So a phase begins
wherever the logarithm of the ratio changes by more than that of `JUMP` from one layer to the next. A single layer on
the way up or down between two others is no phase but part of the change.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from sinkscope.quantities.rows import large

JUMP = 2.0  # a choice: a factor between neighbouring layers that a drift does not reach


@dataclass(frozen=True)
class Phase:
    """Layers on one level.

    Attributes:
        first: its first layer.
        last: its last layer.
        norm: norm of token 0 leaving a layer, median over the phase.
        ratio: its ratio to the mean norm of positions 1 to 15, median over the phase.
    """

    first: int
    last: int
    norm: float
    ratio: float

    @property
    def large(self) -> bool:
        """Whether token 0 stands out: the ratio is at least the threshold of `residual_t0_over_early`."""
        return self.ratio >= large("residual_t0_over_early")


def phases(norms: pd.DataFrame) -> list[Phase]:
    """The phases, from the first layer to the last; layers of a change belong to none.

    Args:
        norms: by layer the columns t0 and early (`measured.zero_and_neighbours`); layers without a positive ratio are
            left out.
    """
    known = norms[(norms["t0"] > 0) & (norms["early"] > 0)]
    ratio = known["t0"] / known["early"]
    return [_phase(known["t0"], ratio, stretch) for stretch in _levels(np.log(ratio.to_numpy()))]


def _levels(logarithms: "np.ndarray[tuple[int], np.dtype[np.float64]]") -> list[slice]:
    """Stretches between jumps, without the single ones that lie between a lower and a higher neighbour."""
    if not len(logarithms):
        return []
    steps = np.diff(logarithms)
    starts = [0, *(np.flatnonzero(np.abs(steps) > np.log(JUMP)) + 1).tolist()]
    ends = [*starts[1:], len(logarithms)]
    return [slice(a, b) for a, b in zip(starts, ends, strict=True) if not _passing(steps, a, b)]


def _passing(steps: "np.ndarray[tuple[int], np.dtype[np.float64]]", start: int, end: int) -> bool:
    inside = start > 0 and end <= len(steps)
    return end - start == 1 and inside and steps[start - 1] * steps[start] > 0


def _phase(t0: "pd.Series[float]", ratio: "pd.Series[float]", stretch: slice) -> Phase:
    layers = ratio.index[stretch]
    return Phase(int(layers[0]), int(layers[-1]), float(t0[stretch].median()), float(ratio[stretch].median()))
