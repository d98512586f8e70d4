"""The places inside a transformer block where sinkscope measures, under one set of names.

For layer l of a pre-norm block (arXiv:2603.17771, section 2):

    hn  = Norm_1(h_in)     r_attn = Attention(hn)    h_half = h_in + r_attn
    hn2 = Norm_2(h_half)   r_mlp  = MLP(hn2)         h_out  = h_half + r_mlp

Blocks that are built otherwise lack some of these sites (`sinkscope.models.layout`). r_attn and r_mlp are what is
added to the stream in all of them.

Inside the attention, q and k are taken after the rotary embedding (and after q/k norms where the model has them), v is
the raw value projection, v_scaled what the attention weights are applied to (equal to v unless V-scale is attached),
and y the per-head result before the output projection.
"""

from enum import StrEnum


class Site(StrEnum):
    """A measured site. The member's value is its name in every table."""

    H_IN = "h_in"
    HN = "hn"
    Q = "q"
    K = "k"
    V = "v"
    V_SCALED = "v_scaled"
    Y = "y"
    R_ATTN = "r_attn"
    H_HALF = "h_half"
    HN2 = "hn2"
    DOWN_IN = "down_in"
    R_MLP = "r_mlp"
    H_OUT = "h_out"
    FINAL_IN = "final_in"

    @property
    def meaning(self) -> str:
        """What the site is, in words, for tables and figures."""
        return _MEANINGS[self]


_MEANINGS = {
    Site.H_IN: "residual stream entering the block",
    Site.HN: "output of the attention branch's norm",
    Site.Q: "queries after the rotary embedding, heads concatenated",
    Site.K: "keys after the rotary embedding, kv heads concatenated",
    Site.V: "raw value projection, kv heads concatenated",
    Site.V_SCALED: "values as the attention sees them, kv heads concatenated",
    Site.Y: "attention result per head before the output projection, heads concatenated",
    Site.R_ATTN: "attention branch output",
    Site.H_HALF: "residual stream between the branches",
    Site.HN2: "output of the MLP branch's norm",
    Site.DOWN_IN: "input of the MLP's down projection",
    Site.R_MLP: "MLP branch output",
    Site.H_OUT: "residual stream leaving the block",
    Site.FINAL_IN: "input of the final norm (listed once, at the last layer)",
}
