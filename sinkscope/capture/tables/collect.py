"""From a recorder's reductions to the declared tables: the last step that touches tensors.

One function per table. Equation numbers are those of docs/definitions.md.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from sinkscope.capture.recorder import MASSIVE_SITES, Recorder
from sinkscope.capture.statistics.site_statistics import SiteStatistics, ValueStatistics
from sinkscope.capture.tables.expert_tables import experts_tables
from sinkscope.capture.tables.modality_tables import modalities_tables
from sinkscope.metrics.gradients import gradient_sink_ratio
from sinkscope.metrics.massive import is_massive, ratio_to_median
from sinkscope.metrics.moments import kurtosis
from sinkscope.metrics.order import spearman
from sinkscope.metrics.reshaping import ratio
from sinkscope.sites import Site
from sinkscope.tables.rows import Rows

LISTED_ENTRIES = 8  # the largest entries of each sequence, layer and site that are listed whatever their size

_SEQUENCE_SITES = (Site.H_OUT, Site.R_MLP, Site.R_ATTN)


@dataclass(frozen=True)
class Collected:
    """A finished run's reductions, and what the tables need beside them.

    Attributes:
        recorder: the reductions.
        divisor: what the captured gradients are divided by (the number of targets where sums were backpropagated).
        losses: mean next-token loss of each sequence in nats; empty where the loss is the caller's own.
        token: the name of a token id.
        valves: theta and C of each layer's V-scale, each [K]; empty without V-scale.
    """

    recorder: Recorder
    divisor: float
    losses: list[float]
    token: Callable[[int], str]
    valves: list[tuple[Tensor, Tensor]]

    def norms(self, layer: int, site: Site) -> Tensor:
        """Norms of the run's batch-summed gradient at a site, float64 [P]; empty where none arrived."""
        total = self.recorder.gradients.get(self.recorder.canonical(layer, site))
        return torch.zeros(0, dtype=torch.float64) if total is None else total.norms().cpu() / self.divisor


def tables(run: Collected) -> dict[str, pd.DataFrame]:
    """Every table of an analysis that applies to the model."""
    vscale = {"vscale": _vscale(run)} if run.valves else {}
    massive = _massive(run)
    tokens = _sequence_tokens(run)
    experts = experts_tables(run.recorder, massive, lambda sequence, at: run.token(tokens[sequence][at]))
    return {
        "heads": _heads(run),
        "layers": _layers(run),
        "sites": _sites(run),
        "positions": _positions(run),
        "branches": _branches(run),
        "bounds": _bounds(run),
        "massive": massive,
        "values": _values(run),
        **vscale,
        "sequences": _sequences(run),
        "gradient_blocks": _gradient_blocks(run),
        "sinks": _sinks(run),
        "maps": _maps(run),
        "scatter": _scatter(run),
        **experts,
        **modalities_tables(run.recorder, tokens),
        **({"learned_sinks": _learned_sinks(run)} if run.recorder.learned_sinks else {}),
    }


def _heads(run: Collected) -> pd.DataFrame:
    rows = Rows("heads")
    for layer, heads in run.recorder.heads.items():
        alpha, share = heads.alpha.mean().cpu(), heads.sink_share.mean().cpu()
        listed = share > 0
        listed[0] = True
        position, head = torch.nonzero(listed, as_tuple=True)
        counted = heads.counted.clone()
        counted[heads.incomplete()] = torch.nan
        rows.add(
            layer=layer,
            head=head.numpy(),
            position=position.numpy(),
            alpha=alpha[listed].numpy(),
            sink_fraction=share[listed].numpy(),
            mass=(heads.mass / counted[:, None]).cpu()[position, head].numpy(),
            second_moment=(heads.second_moment / counted[:, None]).cpu()[position, head].numpy(),
        )
    return rows.frame()


def _layers(run: Collected) -> pd.DataFrame:
    rows = Rows("layers")
    for layer, heads in run.recorder.heads.items():
        alpha = heads.alpha.mean().mean(1).cpu()
        norms = run.recorder.sites[layer, Site.H_IN].norms.mean().cpu()
        gradient = run.norms(layer, Site.HN)
        rows.add(
            layer=layer,
            sink_rate=float(heads.sink_share.mean()[0].mean()),
            gradient_sink_ratio=gradient_sink_ratio(gradient, run.recorder.settings.early) if len(gradient) else np.nan,
            alpha_norm_correlation=spearman(alpha, norms[: len(alpha)]),
        )
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
    return site is not Site.DOWN_IN or (layer, site) in run.recorder.sites


def _sites(run: Collected) -> pd.DataFrame:
    rows = Rows("sites")
    for layer, site in _layer_sites(run):
        statistics = run.recorder.sites[run.recorder.canonical(layer, site)]
        rows.add(
            layer=layer,
            site=str(site),
            abs_max=float(statistics.maxima.rows().max()),
            abs_median=float(statistics.medians.rows().median()),
            kurtosis=kurtosis(statistics.count, statistics.power_sums.cpu()),
        )
    return rows.frame()


def _positions(run: Collected) -> pd.DataFrame:
    rows = Rows("positions")
    for layer, site in _layer_sites(run):
        statistics = run.recorder.sites[run.recorder.canonical(layer, site)]
        norms = statistics.norms.mean().cpu()[: run.recorder.settings.positions]
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


def _branches(run: Collected) -> pd.DataFrame:
    rows = Rows("branches")
    for layer in range(run.recorder.layers):
        for branch, (entering, normed, added, leaving) in run.recorder.layout.branches.items():
            statistics = run.recorder.sites[run.recorder.canonical(layer, entering)]
            norms = statistics.norms.mean().cpu()[: run.recorder.settings.positions].numpy()
            ratios: dict[str, Any] = {"bloat": np.nan, "change": np.nan, "compress": np.nan}
            if (layer, branch) in run.recorder.reshaped:
                pulled = run.recorder.reshaped[layer, branch].norms().cpu() / run.divisor
                at = {site: run.norms(layer, site) for site in (entering, normed, added, leaving)}
                ratios["bloat"] = ratio(at[normed], at[added]).numpy()
                ratios["change"] = ratio(at[entering], at[leaving]).numpy()
                ratios["compress"] = ratio(pulled, at[normed]).numpy()
            rows.add(layer=layer, branch=branch, position=np.arange(len(norms)), input_norm=norms, **ratios)
    return rows.frame()


def _bounds(run: Collected) -> pd.DataFrame:
    rows = Rows("bounds")
    for (layer, bound), tally in sorted(run.recorder.bounds.items()):
        rows.add(
            layer=layer,
            bound=bound,
            checked=tally.checked,
            max_ratio=tally.largest if tally.checked else np.nan,
            mean_ratio=tally.total / tally.checked if tally.checked else np.nan,
            violations=tally.violations,
        )
    return rows.frame()


def _massive(run: Collected) -> pd.DataFrame:
    rows = Rows("massive")
    tokens = _sequence_tokens(run)
    for layer in range(run.recorder.layers):
        for site in MASSIVE_SITES:
            if site in run.recorder.layout.absent or not _measured(run, layer, site):
                continue
            statistics = run.recorder.sites[run.recorder.canonical(layer, site)]
            value, median = statistics.found.value.rows().cpu(), statistics.medians.rows().cpu()[:, None]
            massive = is_massive(value, median)
            kept = (massive | (torch.arange(value.shape[1]) < LISTED_ENTRIES)) & ~value.isnan()
            sequence = torch.nonzero(kept)[:, 0].numpy()
            position = statistics.found.position.rows().cpu()[kept].numpy()
            rows.add(
                layer=layer,
                site=str(site),
                sequence=sequence,
                position=position,
                token=[run.token(tokens[s][p]) for s, p in zip(sequence, position, strict=True)],
                channel=statistics.found.channel.rows().cpu()[kept].numpy(),
                value=value[kept].numpy(),
                ratio_to_median=ratio_to_median(value, median)[kept].numpy(),
                is_massive=massive[kept].numpy(),
            )
    return rows.frame()


def _values(run: Collected) -> pd.DataFrame:
    rows = Rows("values")
    for layer, values in run.recorder.values.items():
        scaled = values.norms.mean().cpu()[: run.recorder.settings.positions].numpy()
        projected = run.recorder.raw_values.get(layer, values)
        raw = projected.norms.mean().cpu()[: run.recorder.settings.positions].numpy()
        position = np.arange(len(raw))
        for head in range(raw.shape[1]):
            rows.add(layer=layer, kv_head=head, position=position, norm=raw[:, head], norm_scaled=scaled[:, head])
    return rows.frame()


def _vscale(run: Collected) -> pd.DataFrame:
    rows = Rows("vscale")
    for layer, (theta, c) in enumerate(run.valves):
        rows.add(layer=layer, kv_head=np.arange(len(theta)), theta=theta.cpu().numpy(), C=c.cpu().numpy())
    return rows.frame()


def _sequences(run: Collected) -> pd.DataFrame:
    rows = Rows("sequences")

    def add(layer: int | None, metric: str, values: Tensor) -> None:
        column = values.double().cpu().numpy()
        rows.add(layer=layer, sequence=np.arange(len(column)), metric=metric, value=column)

    if run.losses:
        add(None, "loss", torch.tensor(run.losses))
    for layer, heads in run.recorder.heads.items():
        add(layer, "sink_rate", heads.sink_rates.rows())
        add(layer, "abs_max", run.recorder.sites[run.recorder.canonical(layer, Site.H_OUT)].maxima.rows())
        of_site: dict[str, SiteStatistics | ValueStatistics] = {
            site: run.recorder.sites[run.recorder.canonical(layer, site)] for site in _SEQUENCE_SITES
        }
        of_site[Site.V_SCALED] = run.recorder.values[layer]
        for site, statistics in of_site.items():
            add(layer, f"{site}_t0", statistics.token_zero.rows())
            add(layer, f"{site}_early", statistics.early.rows())
    return rows.frame()


def _gradient_blocks(run: Collected) -> pd.DataFrame:
    rows = Rows("gradient_blocks")
    for layer, blocks in sorted(run.recorder.blocks.items()):
        dots = blocks.inner_products().cpu() / run.divisor**2
        i, j = torch.triu_indices(dots.shape[1], dots.shape[1])
        position = np.repeat(np.arange(dots.shape[0]), len(i))
        pairs = {name: np.tile(index.numpy(), dots.shape[0]) for name, index in (("block_i", i), ("block_j", j))}
        rows.add(layer=layer, position=position, **pairs, dot=dots[:, i, j].flatten().numpy())
    return rows.frame()


def _sinks(run: Collected) -> pd.DataFrame:
    rows = Rows("sinks")
    tokens = _sequence_tokens(run)
    for layer, heads in run.recorder.heads.items():
        sequence, head, position = heads.sinks.rows().cpu().numpy().T
        rows.add(
            layer=layer,
            head=head,
            sequence=sequence,
            position=position,
            token=[run.token(tokens[s][p]) for s, p in zip(sequence, position, strict=True)],
            alpha=heads.sink_alphas.rows().cpu().numpy(),
        )
    return rows.frame()


def _learned_sinks(run: Collected) -> pd.DataFrame:
    rows = Rows("learned_sinks")
    for layer, sinks in sorted(run.recorder.learned_sinks.items()):
        mass, early = (stack.rows().double().mean(0).cpu().numpy() for stack in (sinks.mass, sinks.early))
        rows.add(
            layer=layer,
            head=np.arange(len(mass)),
            logit=sinks.logits.cpu().numpy(),
            mass=mass,
            token_mass=1 - mass,
            early_mass=early,
            alpha=run.recorder.heads[layer].alpha.mean()[0].cpu().numpy(),
        )
    return rows.frame()


def _maps(run: Collected) -> pd.DataFrame:
    rows = Rows("maps")
    for layer, heads in run.recorder.heads.items():
        for head, kind, weight in heads.maps:
            row, column = torch.tril_indices(*weight.shape)
            rows.add(
                layer=layer,
                head=head,
                kind=kind,
                row=row.numpy(),
                column=column.numpy(),
                weight=weight[row, column].numpy(),
            )
    return rows.frame()


def _scatter(run: Collected) -> pd.DataFrame:
    rows = Rows("scatter")
    for (layer, bound), tally in sorted(run.recorder.bounds.items()):
        pairs = tally.sampled
        if not pairs:
            continue
        scale = 1.0 if pairs[0].kv_head is None else run.divisor
        rows.add(
            layer=layer,
            kind=bound,
            kv_head=None if pairs[0].kv_head is None else np.array([pair.kv_head for pair in pairs]),
            sequence=np.array([pair.sequence for pair in pairs]),
            position=np.array([pair.position for pair in pairs]),
            x=np.array([pair.bound for pair in pairs]) / scale,
            y=np.array([pair.measured for pair in pairs]) / scale,
        )
    for layer, gradients in sorted(run.recorder.value_gradients.items()):
        squared = gradients.mean().cpu().numpy() / run.divisor**2
        masses = run.recorder.squared_masses[layer].mean().cpu().numpy()
        for head in range(squared.shape[1]):
            rows.add(
                layer=layer, kind="mass_slope", kv_head=head, sequence=None, position=np.arange(len(squared)),
                x=masses[:, head], y=squared[:, head],
            )  # fmt: skip
    return rows.frame()


def _sequence_tokens(run: Collected) -> list[list[int]]:
    """Token ids of every sequence of the run, padding removed; -1 where only embeddings were passed."""
    tokens: list[list[int]] = []
    for batch, lengths in zip(run.recorder.batches, _batch_lengths(run.recorder), strict=True):
        if batch.input_ids is None:
            tokens += [[-1] * length for length in lengths]
        else:
            tokens += [row for _, piece in batch.pieces(batch.input_ids) for row in piece.tolist()]
    return tokens


def _batch_lengths(recorder: Recorder) -> list[list[int]]:
    lengths = iter(next(iter(recorder.heads.values())).lengths)
    return [[next(lengths) for _ in range(batch.size)] for batch in recorder.batches]
