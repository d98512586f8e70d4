"""dL/dq_0 against what rounding can leave of it: a plain loop, fused attention below the bound, no mask above."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from sinkscope.reproduction.first_query import first_query
from sinkscope.tables.run_folder import Run

SEQUENCES, HEADS, TOKENS = 3, 4, 12


def run_of(rows: list[dict[str, Any]], head_dim: int, dtype: str = "float32", **tables: pd.DataFrame) -> Run:
    return Run({"model": {"dtype": dtype, "head_dim": head_dim}}, {"positions": pd.DataFrame(rows), **tables})


def measured(head_dim: int, *, causal: bool, precision: torch.dtype = torch.float32) -> Run:
    """A layer of random heads under torch's fused attention, as `positions` has it."""
    torch.manual_seed(head_dim)
    shape = (SEQUENCES, HEADS, TOKENS, head_dim)
    q, k, v = (torch.randn(shape, dtype=precision, requires_grad=True) for _ in range(3))
    y = scaled_dot_product_attention(q, k, v, is_causal=causal)
    y.retain_grad()
    (y * torch.randn(shape, dtype=precision)).sum().backward()

    rows = []
    for site, values in {"q": q, "k": k, "v_scaled": v, "y": y}.items():
        assert values.grad is not None
        norms, summed = values.detach()[:, :, 0].flatten(1).norm(dim=1), values.grad.sum(0)[:, 0].norm()
        rows.append({"layer": 0, "site": site, "position": 0, "norm_max": float(norms.max()),
                     "grad_norm": float(summed)})  # fmt: skip
    return run_of(rows, head_dim)


def test_it_is_the_largest_over_layers() -> None:
    draw = np.random.default_rng(0)
    rows = [
        {"layer": layer, "site": site, "position": place, "norm_max": draw.uniform(1, 2),
         "grad_norm": draw.uniform(1, 2)}
        for layer in range(3) for site in ("q", "k", "v", "v_scaled", "y") for place in range(2)
    ]  # fmt: skip
    expected = []
    for layer in range(3):
        own = {row["site"]: row for row in rows if row["layer"] == layer and row["position"] == 0}
        left = 2 * (8 + 2) / 2**24 * own["y"]["grad_norm"] * own["v_scaled"]["norm_max"] * own["k"]["norm_max"]
        expected.append(own["q"]["grad_norm"] / left)
    assert first_query(run_of(rows, 8)).value == pytest.approx(max(expected))


@pytest.mark.parametrize("head_dim", [8, 64, 256])
def test_rounding_stays_below_the_bound(head_dim: int) -> None:
    assert 0 < first_query(measured(head_dim, causal=True)).value < 0.1


@pytest.mark.parametrize("head_dim", [8, 64, 256])
def test_a_first_row_of_several_weights_is_above_it(head_dim: int) -> None:
    assert first_query(measured(head_dim, causal=False)).value > 10


def test_it_shrinks_with_the_roundoff() -> None:
    """In float64 the same attention leaves 2^-29 of it: what was left was rounding."""
    single, double = (
        first_query(measured(64, causal=True, precision=one)).value for one in (torch.float32, torch.float64)
    )
    assert double < 1e-7 * single


def test_where_there_is_nothing_to_test() -> None:
    rows = [{"layer": 0, "site": "q", "position": 0, "norm_max": 1.0, "grad_norm": 1.0}]
    assert "measure in float32" in first_query(run_of(rows, 8, "bfloat16")).missing
    assert "two weights" in first_query(run_of(rows, 8, learned_sinks=pd.DataFrame())).missing
    assert first_query(run_of(rows, 8)).missing == "no layer has it"
