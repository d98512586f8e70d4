"""Holds the tables of a run against the reference's: the same rows, and every value within a tolerance."""

import numpy as np
import pandas as pd
import pandas.testing

from sinkscope.tables.columns import TABLES
from sinkscope.tables.run_folder import Run

KEYS = {
    "heads": ["layer", "head", "position"],
    "layers": ["layer"],
    "sites": ["layer", "site"],
    "positions": ["layer", "site", "position"],
    "branches": ["layer", "branch", "position"],
    "bounds": ["layer", "bound"],
    "massive": ["layer", "site", "sequence", "position", "channel"],
    "massive_counts": ["layer", "site", "sequence"],
    "values": ["layer", "kv_head", "position"],
    "sequences": ["layer", "sequence", "metric"],
    "slope_sums": ["layer", "sequence"],
    "gradient_blocks": ["layer", "position", "block_i", "block_j"],
    "sinks": ["layer", "head", "sequence", "position"],
    "sink_norms": ["layer", "sequence", "position"],
    "maps": ["layer", "head", "kind", "row", "column"],
    "map_tokens": ["position"],
    "experts": ["layer", "kind", "expert"],
    "router": ["layer", "expert", "group"],
    "routing": ["layer", "group"],
    "learned_sinks": ["layer", "head"],
    "modalities": ["layer", "kind"],
}
PAIR_KEYS = ["layer", "kind", "kv_head", "sequence", "position"]


def assert_agree(
    run: Run, reference: dict[str, pd.DataFrame], *, relative: float = 1e-4, of_largest: float = 1e-6
) -> None:
    """Every column of every table of `run` agrees with `reference`.

    Args:
        run: what was measured.
        reference: tables by name.
        relative: allowed relative deviation.
        of_largest: further deviation allowed, as a fraction of the column's largest absolute value: differences of
            nearly equal float32 numbers have no relative precision.
    """
    for name, table in reference.items():
        assert_table(name, run[name], table, relative=relative, of_largest=of_largest)


def assert_table(
    name: str, measured: pd.DataFrame, reference: pd.DataFrame, *, relative: float, of_largest: float
) -> None:
    """One table agrees: declared columns, the same keys, each value within the tolerance, nulls in the same places."""
    assert list(measured.columns) == [column.name for column in TABLES[name].columns], name
    expected = reference.astype(measured.dtypes.to_dict()).set_index(KEYS[name]).sort_index()
    found = measured.set_index(KEYS[name]).sort_index()
    pandas.testing.assert_index_equal(found.index, expected.index, obj=f"{name}: rows")
    for column in expected:
        label = f"{name}.{column}"
        if pd.api.types.is_float_dtype(expected[column]):
            a, b = found[column].to_numpy(), expected[column].to_numpy()
            largest = np.nanmax(np.abs(b)) if np.isfinite(b).any() else 0.0
            np.testing.assert_allclose(a, b, rtol=relative, atol=of_largest * largest, err_msg=label, verbose=True)
        else:
            pandas.testing.assert_series_equal(found[column], expected[column], obj=label)


def assert_pairs(
    scatter: pd.DataFrame, pairs: dict[tuple[object, ...], tuple[float, float]], *, relative: float, of_largest: float
) -> None:
    """Every sampled pair is the reference's pair of the same key; no key is sampled twice."""
    keys = [
        tuple(None if pd.isna(part) else part for part in row) for row in scatter[PAIR_KEYS].itertuples(index=False)
    ]
    assert len(set(keys)) == len(keys)
    for kind, group in scatter.assign(key=keys).groupby("kind"):
        expected = np.array([pairs[key] for key in group["key"]])
        found = group[["x", "y"]].to_numpy()
        for axis, label in enumerate("xy"):
            allowed = of_largest * expected[:, axis].max()
            np.testing.assert_allclose(
                found[:, axis], expected[:, axis], rtol=relative, atol=allowed, err_msg=f"scatter {kind} {label}"
            )
