"""Whether dL/dq_0 is 0 up to rounding, and what rounding leaves of it.

Under a causal softmax the first row has one weight, 1, and y_0 = v_0. By equation (10) a query head gets

    dL/dq_0 = c (<g_0, v_0> - <g_0, y_0>) k_0,   g_0 = dL/dy_0

the difference of two equal inner products of d numbers, d the channels of a value head. A fused kernel forms both in
floating point, in whatever order; with u the unit roundoff each is off by at most d u |g_0| |v_0| to first order, plus
two roundings by which y_0 may differ from v_0. So what is computed has at most the norm

    2 (d + 2) u c |g_0| |v_0| |k_0|

and so has a layer, with the norms of all heads together. For c, at most 1, stands 1. Summed over sequences, |k_0| and
|v_0| are the largest of a sequence, and |g_0| is the norm of the sum as |dL/dq_0| is. For several sequences that is an
estimate and no bound: where gradients cancel that roundings do not, an identity that holds can fail the test. One that
does not hold cannot pass it so.

How large the gradient at other queries is has no part in this: it says nothing of the two terms that cancel.
"""

from sinkscope.reproduction.rule import One
from sinkscope.tables.run_folder import Run

ROUNDOFF = 2.0**-24  # of float32
_NEEDED = ("q", "k", "v_scaled", "y")


def first_query(run: Run) -> One:
    """Largest over layers of |dL/dq_0| over what rounding can leave of it."""
    if run.info["model"].get("dtype") not in (None, "float32"):
        return One(missing="16-bit passes round too much for an identity: measure in float32")
    if "learned_sinks" in run.tables:
        return One(missing="a learned sink gives the first row two weights, and dL/dq_0 need not be 0")
    rows = run["positions"]
    rows = rows[(rows["position"] == 0) & rows["site"].isin(_NEEDED)]
    gradients, largest = (
        rows.pivot_table(index="layer", columns="site", values=column, dropna=False).reindex(columns=list(_NEEDED))
        for column in ("grad_norm", "norm_max")
    )
    left = 2 * (run.info["model"]["head_dim"] + 2) * ROUNDOFF
    left = left * gradients["y"] * largest["v_scaled"] * largest["k"]
    ratios = (gradients["q"] / left).dropna()
    return One(float(ratios.max())) if len(ratios) else One(missing="no layer has it")
