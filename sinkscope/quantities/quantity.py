"""What is declared of a quantity.

A quantity is computed in one of two ways. `over_layers` reduces values by layer, which the tables of a run provide as
measured and bootstrap draws provide as resampled: one formula then gives the number and its interval. `over_tables`
reads what no resampling of sequences reaches: an extreme over all tokens, a count, a learned parameter. Such a
quantity has no interval.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sinkscope.quantities.measured import Measured

Array = NDArray[np.float64]


class LayerValues(Protocol):
    """Values by layer of a run: as measured (`Measured`, `intervals.sample.Sample`), or one row per bootstrap draw."""

    def by_layer(self, name: str) -> Array:
        """Values [b, layers], b being the number of draws or 1; NaN where there is none.

        Args:
            name: `sink_rate` or `gradient_sink_ratio`, or a metric of the table `sequences`.
        """
        ...


@dataclass(frozen=True)
class Threshold:
    """From which value a quantity is called large, and the phenomenon is said to be there.

    Attributes:
        phenomenon: what appears.
        value: the threshold; None takes the run's `sink_epsilon`.
        meaning: what it is to be there, for docs/tracking.md.
        place: among the phenomena.
        exceeds: whether the threshold itself is not enough.
    """

    phenomenon: str
    value: float | None
    meaning: str
    place: int
    exceeds: bool = False


@dataclass(frozen=True)
class Quantity:
    """One number about a run.

    Places order a list by themselves: rows of one place stand in the order of their declaration.

    Attributes:
        name: in run.json, in tables and in trackers.
        title: for readers, as the heading of a row; with the number of its equation.
        meaning: what it is, for docs/quantities.md; empty where the meaning of the row before covers it.
        equation: the equations of docs/definitions.md that define it; empty where none does.
        unit: empty for pure numbers.
        short: its name inside a sentence.
        over_layers: from values by layer to the quantity, one value per draw [b].
        over_tables: from the tables to the quantity, where no resampling reaches it; None is "not measured".
        headline: whether it stands in run.json.
        tracked: whether a track keeps it of every checkpoint.
        compared: its place in a comparison; None: not compared.
        judged: whether a comparison forms and judges its ratio; it must be positive, with a zero of its own.
        margin: equivalence margin of its own, instead of the comparison's.
        ceiling: the largest value that it can have, where there is one.
        cost: whether less of it is better, so that a comparison may say better and worse.
        backward: whether it needs gradients.
        interval: whether its 95 % interval over sequences stands in run.json too, as NAME_low and NAME_high.
        front_page: whether it stands on a comparison's first page.
        monitored: its place among what a monitor logs; None: not logged.
        threshold: from which value it is called large, where there is one.
    """

    name: str
    title: str
    meaning: str = ""
    equation: str = ""
    unit: str = ""
    short: str = ""
    over_layers: Callable[[LayerValues], Array] | None = None
    over_tables: Callable[[Measured], Any] | None = None
    headline: bool = True
    tracked: bool = True
    compared: int | None = None
    judged: bool = True
    margin: float | None = None
    ceiling: float = math.inf
    cost: bool = False
    backward: bool = False
    interval: bool = False
    front_page: bool = False
    monitored: int | None = None
    threshold: Threshold | None = None

    def __post_init__(self) -> None:
        if (self.over_layers is None) == (self.over_tables is None):
            raise ValueError(f"{self.name} needs one formula: over layers, or over tables")

    def measured(self, values: Measured) -> Any:
        """The quantity of a run's tables, as JSON holds it; None where it was not measured."""
        if self.over_layers is not None:
            return _json(self.over_layers(values)[0])
        return _json(self.over_tables(values)) if self.over_tables is not None else None


def _json(value: Any) -> Any:
    """NaN and missing become None, numpy's scalars Python's."""
    if isinstance(value, list):
        return value
    if value is None or pd.isna(value):
        return None
    return value.item() if isinstance(value, np.generic) else value
