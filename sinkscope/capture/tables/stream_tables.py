"""The tables of the residual stream and its branches: `sites`, `positions`, `branches`, `massive`, `massive_counts`.

Equation numbers are those of docs/definitions.md.
"""

from typing import Any

import numpy as np
import pandas as pd
import torch

from sinkscope.capture.recorder import MASSIVE_SITES
from sinkscope.capture.statistics.layer_sites import SiteEntries, SiteStatistics
from sinkscope.capture.tables.collected import Collected
from sinkscope.metrics.massive import is_massive, ratio_to_median
from sinkscope.metrics.moments import kurtosis
from sinkscope.metrics.reshaping import ratio
from sinkscope.sites import Site
from sinkscope.tables.builder import Rows

LISTED_ENTRIES = 8  # the largest entries of each sequence, layer and site that are listed whatever their size


def sites(run: Collected) -> pd.DataFrame:
    """Extremes of each site over all tokens and channels."""
    rows = Rows("sites")
    for layer, site in _layer_sites(run):
        statistics = run.site(layer, site)
        rows.add(
            layer=layer,
            site=str(site),
            abs_max=float(statistics.maxima.max()),
            abs_median=float(statistics.medians.median()),
            kurtosis=kurtosis(statistics.count, statistics.power_sums.cpu()),
        )
    return rows.frame()


def positions(run: Collected) -> pd.DataFrame:
    """Norms by position of activations and gradients."""
    rows = Rows("positions")
    for layer, site in _layer_sites(run):
        statistics = run.site(layer, site)
        norms = statistics.norms.cpu()[: run.listed]
        gradient = run.norms(layer, site)
        rows.add(
            layer=layer,
            site=str(site),
            position=np.arange(len(norms)),
            norm=norms.numpy(),
            norm_max=statistics.norm_max.cpu()[: len(norms)].numpy(),
            grad_norm=gradient.numpy() if len(gradient) else np.nan,
        )
    return rows.frame()


def branches(run: Collected) -> pd.DataFrame:
    """What branches do to gradients by position, equation (8)."""
    rows = Rows("branches")
    for layer in range(run.recorder.layers):
        for branch, (entering, normed, added, leaving) in run.recorder.layout.branches.items():
            statistics = run.site(layer, entering)
            norms = statistics.norms.cpu()[: run.listed].numpy()
            ratios: dict[str, Any] = {"bloat": np.nan, "change": np.nan, "compress": np.nan}
            if (layer, branch) in run.recorder.reshaped:
                pulled = run.recorder.reshaped[layer, branch].norms().cpu() / run.divisor
                at = {site: run.norms(layer, site) for site in (entering, normed, added, leaving)}
                ratios["bloat"] = ratio(at[normed], at[added]).numpy()
                ratios["change"] = ratio(at[entering], at[leaving]).numpy()
                ratios["compress"] = ratio(pulled, at[normed]).numpy()
            rows.add(layer=layer, branch=branch, position=np.arange(len(norms)), input_norm=norms, **ratios)
    return rows.frame()


def massive(run: Collected) -> pd.DataFrame:
    """Massive activations, and the largest entries beside them."""
    rows = Rows("massive")
    tokens = run.sequence_tokens()
    for layer in range(run.recorder.layers):
        for site in MASSIVE_SITES:
            if site in run.recorder.layout.absent or not _measured(run, layer, site):
                continue
            statistics = run.site(layer, site)
            largest, median = _entries(statistics).largest, statistics.medians.cpu()[:, None]
            value = largest.value.rows().cpu()
            massive = is_massive(value, median)
            kept = (massive | (torch.arange(value.shape[1]) < LISTED_ENTRIES)) & ~value.isnan()
            sequence = torch.nonzero(kept)[:, 0].numpy()
            position = largest.position.rows().cpu()[kept].numpy()
            rows.add(
                layer=layer,
                site=str(site),
                sequence=sequence,
                position=position,
                token=[run.token(tokens[s][p]) for s, p in zip(sequence, position, strict=True)],
                channel=largest.channel.rows().cpu()[kept].numpy(),
                value=value[kept].numpy(),
                ratio_to_median=ratio_to_median(value, median)[kept].numpy(),
                is_massive=massive[kept].numpy(),
            )
    return rows.frame()


def massive_counts(run: Collected) -> pd.DataFrame:
    """How many massive activations each hidden state has, whether listed or not."""
    rows = Rows("massive_counts")
    for layer in range(run.recorder.layers):
        for site in MASSIVE_SITES:
            if site in run.recorder.layout.absent or not _measured(run, layer, site):
                continue
            counts = _entries(run.site(layer, site)).massive.rows().cpu().numpy()
            sequence = np.flatnonzero(counts[:, 0])
            entries, positions, channels = counts[sequence].T
            rows.add(layer=layer, site=str(site), sequence=sequence, entries=entries, positions=positions,
                     channels=channels)  # fmt: skip
    return rows.frame()


def _layer_sites(run: Collected) -> list[tuple[int, Site]]:
    last = run.recorder.layers - 1
    sites = [site for site in Site if site not in run.recorder.layout.absent]
    listed = [
        (layer, site) for layer in range(last + 1) for site in sites if site is not Site.FINAL_IN or layer == last
    ]
    return [(layer, site) for layer, site in listed if _measured(run, layer, site)]


def _measured(run: Collected, layer: int, site: Site) -> bool:
    """Whether this layer has a site that others have: a mixture of experts has no down_in."""
    return site is not Site.DOWN_IN or site in run.recorder.sites[layer].sites


def _entries(statistics: SiteStatistics) -> SiteEntries:
    """The largest entries of a site where massive activations are looked for."""
    assert statistics.entries is not None  # noqa: S101  (narrows the type)
    return statistics.entries
