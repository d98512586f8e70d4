"""Gradient norms at q, k and v by position, as the report's figure needs them of every model."""

from collections.abc import Sequence

import pandas as pd

from sinkscope.reproduction.measures import Seed
from sinkscope.tables.builder import Rows

LAST = 31  # position


def pathways(seeds: Sequence[Seed]) -> pd.DataFrame:
    """The table `pathways`."""
    rows = Rows("pathways")
    for number, seed in enumerate(seeds):
        for role, run in seed.analyses.items():
            known = run["positions"]
            known = known[known["site"].isin(["q", "k", "v"]) & (known["position"] <= LAST)]
            means = known.groupby(["site", "position"], sort=True)["grad_norm"].mean().reset_index()
            if len(means):
                rows.add(model=role, seed=number, site=means["site"].to_list(), position=means["position"].to_numpy(),
                         grad_norm=means["grad_norm"].to_numpy(dtype=float))  # fmt: skip
    return rows.frame()
