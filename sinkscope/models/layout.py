"""Which of the measured sites a block has, and between which of them a branch reshapes gradients.

The chain of definitions is that of a pre-norm block whose branches follow one another. Blocks built otherwise lack
some of its sites, and what depends on them does not apply. A parallel block has no stream between its branches: both
leave it at h_out, which then stands in the place of h_half in equation (8).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from sinkscope.models.family import Family
from sinkscope.sites import Site


class BranchSites(NamedTuple):
    """The sites of a branch in equation (8): stream before it, norm's output, branch output, stream after it."""

    entering: Site
    normed: Site
    added: Site
    leaving: Site


_SEQUENTIAL = {
    "attn": BranchSites(Site.H_IN, Site.HN, Site.R_ATTN, Site.H_HALF),
    "mlp": BranchSites(Site.H_HALF, Site.HN2, Site.R_MLP, Site.H_OUT),
}
_PARALLEL = {
    "attn": BranchSites(Site.H_IN, Site.HN, Site.R_ATTN, Site.H_OUT),
    "mlp": BranchSites(Site.H_IN, Site.HN2, Site.R_MLP, Site.H_OUT),
}


@dataclass(frozen=True)
class Layout:
    """What the blocks of a model have.

    Attributes:
        absent: the sites that no block has.
        branches: the branches that equation (8) applies to, by name.
    """

    absent: frozenset[Site] = frozenset()
    branches: Mapping[str, BranchSites] = field(default_factory=lambda: dict(_SEQUENTIAL))


def layout_of(family: Family) -> Layout:
    """The layout of a family's blocks, the family resolved for a configuration."""
    missing = {
        Site.HN: family.attention_norm is None,
        Site.HN2: family.mlp_norm is None,
        Site.H_HALF: family.parallel,
        Site.DOWN_IN: family.down is None,
        Site.FINAL_IN: family.final_norm is None,
    }
    absent = frozenset(site for site, lacks in missing.items() if lacks)
    sites = _PARALLEL if family.parallel else _SEQUENTIAL
    return Layout(absent, {name: branch for name, branch in sites.items() if branch.normed not in absent})


def not_applicable(family: Family) -> dict[str, str]:
    """What a family's blocks do not have, by the name of a site, table or quantity, and why: for run.json.

    Args:
        family: the row, resolved for a configuration.
    """
    reasons: dict[str, str] = {}
    if family.stream_normed:
        unread = f"this `{family.model_type}` normalizes the residual stream itself, after each branch"
    else:
        unread = f"`{family.model_type}` normalizes branch outputs, and its branches read the residual stream itself"
    lost = {
        "attn": ("hn", "gradient_sink_ratio", "gradient_blocks", "compress_attn"),
        "mlp": ("hn2", "compress_mlp"),
    }
    present = layout_of(family).branches
    for branch, names in lost.items():
        if branch not in present:
            reasons |= dict.fromkeys(names, unread)
    if not present:
        reasons["branches"] = unread
    if family.parallel:
        reasons["h_half"] = "both branches read h_in, so no residual stream lies between them"
    if family.down is None:
        reasons["down_in"] = "no module of its own is the down projection"
    if family.experts is not None:
        reasons["down_in"] = "layers with experts have one down_in per expert (table experts)"
    if family.final_norm is None:
        reasons["final_in"] = "no norm stands between the last block and the output head"
    return reasons
