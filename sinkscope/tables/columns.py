"""Every table of an analysis and every column in it, declared once.

The declaration is the contract between rooms: rows are built by it, files are read by it, and the documentation prints
it. `frame` refuses columns that are missing, extra or out of order, so that a table and its declaration cannot drift
apart. Layers, heads, positions, sequences and channels count from 0; positions count from a sequence's first attended
token. Equation numbers are those of docs/definitions.md.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd


@dataclass(frozen=True)
class Column:
    """One column: its name, pandas dtype, unit (empty for pure numbers and names) and meaning."""

    name: str
    dtype: str
    unit: str
    meaning: str


@dataclass(frozen=True)
class Table:
    """One table: its name, what a row is, and its columns in order."""

    name: str
    meaning: str
    columns: tuple[Column, ...]


def _int(name: str, meaning: str, unit: str = "") -> Column:
    return Column(name, "int64", unit, meaning)


def _float(name: str, meaning: str, unit: str = "") -> Column:
    return Column(name, "float64", unit, meaning)


def _text(name: str, meaning: str) -> Column:
    return Column(name, "string", "", meaning)


_LAYER = _int("layer", "decoder layer")
_HEAD = _int("head", "query head")
_KV_HEAD = _int("kv_head", "key/value head")
_POSITION = _int("position", "token position in its sequence")
_SEQUENCE = _int("sequence", "sequence of the run")
_SITE = _text("site", "measured site")
_TOKEN = _text("token", "the token that stands there")

_DECLARED = (
    Table(
        "heads",
        "A query head and a position: position 0 for every head, any other where that head had a sink in a sequence.",
        (
            _LAYER,
            _HEAD,
            _POSITION,
            _float("alpha", "mean over sequences of alpha_s, equation (1); the self term t = s counts"),
            _float("sink_fraction", "share of sequences whose alpha_s exceeds epsilon"),
            _float(
                "mass",
                "mean over sequences of the column sum M_s, equation (2); null at a late sink that some forward passes "
                "of a Scope did not cover (columns = all covers every position)",
            ),
            _float("second_moment", "mean over sequences of the column's sum of squares S_s, equation (2)"),
        ),
    ),
    Table(
        "layers",
        "A layer.",
        (
            _LAYER,
            _float("sink_rate", "mean over heads of sink_fraction at position 0"),
            _float("gradient_sink_ratio", "R_GS at position 0, equation (6), from batch-summed gradients at hn"),
            _float(
                "alpha_norm_correlation",
                "Spearman's rank correlation over positions of head-averaged alpha_s with the mean norm of h_in_s",
            ),
        ),
    ),
    Table(
        "sites",
        "A layer and a site, over all tokens and channels of the run.",
        (
            _LAYER,
            _SITE,
            _float("abs_max", "largest |x|"),
            _float("abs_median", "median over sequences of the sequence's median |x| (lower of the two middle values)"),
            _float("kurtosis", "Pearson's kurtosis (normal distribution: 3), population moments"),
        ),
    ),
    Table(
        "positions",
        "A layer, a site and an early position.",
        (
            _LAYER,
            _SITE,
            _POSITION,
            _float("norm", "l2 norm of the token's vector, mean over sequences, equation (3)"),
            _float("norm_max", "the same, maximum over sequences"),
            _float("grad_norm", "l2 norm of the batch-summed gradient of the run's mean loss", "nats per unit"),
        ),
    ),
    Table(
        "branches",
        "A layer, a branch (attn or mlp) and an early position; equation (8) on batch-summed gradients.",
        (
            _LAYER,
            _text("branch", "attn or mlp"),
            _POSITION,
            _float("input_norm", "mean over sequences of the l2 norm of the branch norm's input (h_in or h_half)"),
            _float("bloat", "|dL/d norm output| / |dL/d branch output|"),
            _float("change", "|dL/d branch input| / |dL/d residual after the branch|"),
            _float("compress", "|norm's vector-Jacobian product of dL/d norm output| / |dL/d norm output|"),
        ),
    ),
    Table(
        "bounds",
        "A layer and a bound, checked for every sequence and token that it covers.",
        (
            _LAYER,
            _text("bound", "value_mass, value_moment (equation 12), compress_attn or compress_mlp (equation 13)"),
            _int("checked", "pairs compared; zero bounds are left out"),
            _float("max_ratio", "largest measured / bound"),
            _float("mean_ratio", "mean measured / bound"),
            _int("violations", "pairs with measured / bound above 1 + 1e-4 (float32) or 1 + 2e-2 (16 bit)"),
        ),
    ),
    Table(
        "massive",
        "An entry of a hidden state: the largest of each sequence, layer and site, and all massive ones.",
        (
            _LAYER,
            _SITE,
            _SEQUENCE,
            _POSITION,
            _TOKEN,
            _int("channel", "index in the hidden dimension"),
            _float("value", "the entry"),
            _float("ratio_to_median", "|value| over the median |x| of the same sequence, layer and site"),
            Column("is_massive", "bool", "", "|value| > 100 and ratio_to_median >= 1000"),
        ),
    ),
    Table(
        "values",
        "A layer, a key/value head and an early position; equation (4).",
        (
            _LAYER,
            _KV_HEAD,
            _POSITION,
            _float("norm", "mean over sequences of |v|, the raw value projection"),
            _float("norm_scaled", "mean over sequences of |v| as attention sees it"),
        ),
    ),
    Table(
        "vscale",
        "A layer and a key/value head of a model with V-scale.",
        (
            _LAYER,
            _KV_HEAD,
            _float("theta", "learned exponent, equation (15)"),
            _float("C", "threshold on |v|^2, equation (15)"),
        ),
    ),
    Table(
        "sequences",
        "A per-sequence value of a headline metric, for intervals; layer is null where the metric has none.",
        (
            Column("layer", "Int64", "", "decoder layer"),
            _SEQUENCE,
            _text(
                "metric",
                "loss, sink_rate, abs_max (of h_out), or {site}_t0 and {site}_early for h_out, r_mlp, r_attn, v_scaled",
            ),
            _float(
                "value",
                "its value; t0 is the norm at position 0, early its mean over positions 1 to 15 "
                "(v_scaled: averaged over kv heads)",
            ),
        ),
    ),
    Table(
        "gradient_blocks",
        "Inner product of two blocks' gradient sums at hn, for an exact block bootstrap of R_GS; block_i <= block_j.",
        (
            _LAYER,
            _POSITION,
            _int("block_i", "block of consecutive sequences; all of one size, a power of two, but for the last"),
            _int("block_j", "block of consecutive sequences"),
            _float("dot", "inner product of the two blocks' shares of the run's gradient"),
        ),
    ),
    Table(
        "sinks",
        "A sink: a head of one sequence whose alpha at a position exceeds epsilon.",
        (_LAYER, _HEAD, _SEQUENCE, _POSITION, _TOKEN, _float("alpha", "equation (1) for this sequence")),
    ),
    Table(
        "maps",
        "A cell of an attention map of the run's first sequence: heads with the layer's largest and smallest alpha_0.",
        (
            _LAYER,
            _HEAD,
            _text("kind", "window (the first tokens) or pooled (the whole sequence in at most 64 x 64 cells)"),
            _int("row", "query position, or query cell"),
            _int("column", "key position, or key cell"),
            _float("weight", "attention weight; pooled: mean over sampled queries of the weight on the key cell"),
        ),
    ),
    Table(
        "scatter",
        "A sampled pair of a measured quantity and what bounds or predicts it.",
        (
            _LAYER,
            _text("kind", "a bound's name, or mass_slope: x = M_s^2, y = |dL/dv_s|^2, equation (11)"),
            Column("kv_head", "Int64", "", "key/value head; null for the compress bounds"),
            Column("sequence", "Int64", "", "sequence; null where averaged over sequences"),
            _POSITION,
            _float("x", "the bound or the predictor"),
            _float("y", "the measured quantity"),
        ),
    ),
)

TABLES: dict[str, Table] = {table.name: table for table in _DECLARED}


def frame(name: str, columns: Mapping[str, Sequence[Any] | Any]) -> pd.DataFrame:
    """Builds a table, checked against its declaration.

    Args:
        name: a key of `TABLES`.
        columns: exactly the declared columns, in order, of equal length.

    Raises:
        ValueError: if the columns are not the declared ones.
    """
    declared = TABLES[name].columns
    if list(columns) != [column.name for column in declared]:
        raise ValueError(f"table {name} has columns {[c.name for c in declared]}, not {list(columns)}")
    return pd.DataFrame({column.name: pd.Series(columns[column.name], dtype=column.dtype) for column in declared})
