"""Rows of quantization tables without a mitigation, one per model and method; older runs have no others."""

import pandas as pd

from sinkscope.names import NONE


def mitigations(table: pd.DataFrame) -> "pd.Series[str]":
    """Each row's mitigation, `none` where the run is older than mitigations."""
    if "mitigation" not in table:
        return pd.Series(NONE, index=table.index)
    return table["mitigation"].fillna(NONE)


def unmitigated(table: pd.DataFrame) -> pd.DataFrame:
    """The rows without a mitigation; of pairs, those where neither side has one."""
    plain = mitigations(table) == NONE
    if "other_mitigation" in table:
        plain &= table["other_mitigation"].fillna(NONE) == NONE
    return table[plain]
