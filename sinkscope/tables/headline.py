"""The headline numbers of an analysis: what `sinkscope.quantities` declares, of its tables."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from sinkscope.quantities.measured import Measured
from sinkscope.quantities.quantity import Quantity
from sinkscope.quantities.rows import in_headline
from sinkscope.tables.run_folder import Run


def headline(tables: Mapping[str, pd.DataFrame], epsilon: float) -> dict[str, Any]:
    """Headline numbers of an analysis; None where something was not measured.

    Args:
        tables: the tables of `sinkscope.tables.columns`.
        epsilon: threshold on alpha_0 above which a head counts as a sink on average.
    """
    values = Measured(tables, epsilon)
    return {row.name: row.measured(values) for row in in_headline()}


def number(run: Run, row: Quantity) -> Any:
    """A quantity of an analysis, from its headline or else from its tables; None where it was not measured."""
    return run.info["headline"].get(row.name) if row.headline else row.measured(measured(run))


def measured(run: Run) -> Measured:
    """An analysis as values by layer."""
    return Measured(run.tables, run.info["settings"]["sink_epsilon"])
