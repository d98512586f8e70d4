"""Tables of attention: `heads`, `layers`, `sinks`, `sink_norms`, `learned_sinks`, `maps`, `map_tokens` ... `vscale`.

Equation numbers are those of docs/definitions.md.
"""

import numpy as np
import pandas as pd
import torch

from sinkscope.capture.statistics.head_statistics import WINDOW
from sinkscope.capture.tables.collected import Collected
from sinkscope.metrics.gradients import gradient_sink_ratio
from sinkscope.metrics.order import spearman
from sinkscope.sites import Site
from sinkscope.tables.builder import Rows


def heads(run: Collected) -> pd.DataFrame:
    """The attention of each head on position 0 and on every position where it has a sink."""
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


def layers(run: Collected) -> pd.DataFrame:
    """By layer equations (1) and (6), and the rank correlation of attention with norm."""
    rows = Rows("layers")
    for layer, heads in run.recorder.heads.items():
        alpha = heads.alpha.mean().mean(1).cpu()
        norms = run.site(layer, Site.H_IN).norms.cpu()
        gradient = run.norms(layer, Site.HN)
        rows.add(
            layer=layer,
            sink_rate=float(heads.sink_share.mean()[0].mean()),
            gradient_sink_ratio=gradient_sink_ratio(gradient, run.recorder.settings.early) if len(gradient) else np.nan,
            alpha_norm_correlation=spearman(alpha, norms[: len(alpha)]),
        )
    return rows.frame()


def sinks(run: Collected) -> pd.DataFrame:
    """Every sink found, by sequence."""
    rows = Rows("sinks")
    tokens = run.sequence_tokens()
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


def sink_norms(run: Collected) -> pd.DataFrame:
    """The norms of the tokens that are sinks, and of position 0, among those of their sequence."""
    rows = Rows("sink_norms")
    tokens = run.sequence_tokens()
    for layer, heads in run.recorder.heads.items():
        sequence, position, sinks, rank = heads.tokens.rows().cpu().numpy().T
        rows.add(
            layer=layer,
            sequence=sequence,
            position=position,
            token=[run.token(tokens[s][p]) for s, p in zip(sequence, position, strict=True)],
            heads=sinks,
            norm=heads.token_norms.rows().cpu().numpy(),
            rank=rank,
            positions=[len(tokens[s]) for s in sequence],
        )
    return rows.frame()


def learned_sinks(run: Collected) -> pd.DataFrame:
    """What each head's learned sink takes."""
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


def maps(run: Collected) -> pd.DataFrame:
    """Attention weights for pictures."""
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


def map_tokens(run: Collected) -> pd.DataFrame:
    """The tokens that the maps of the first ones are drawn with."""
    rows = Rows("map_tokens")
    for sequence in run.sequence_tokens()[:1]:
        shown = sequence[:WINDOW]
        rows.add(position=np.arange(len(shown)), token=[run.token(token) for token in shown])
    return rows.frame()


def values(run: Collected) -> pd.DataFrame:
    """Norms of the values, as they are projected and as attention sees them."""
    rows = Rows("values")
    for layer, values in run.recorder.values.items():
        scaled = values.norms.mean().cpu()[: run.listed].numpy()
        projected = run.recorder.raw_values.get(layer, values)
        raw = projected.norms.mean().cpu()[: run.listed].numpy()
        position = np.arange(len(raw))
        for head in range(raw.shape[1]):
            rows.add(layer=layer, kv_head=head, position=position, norm=raw[:, head], norm_scaled=scaled[:, head])
    return rows.frame()


def vscale(run: Collected) -> pd.DataFrame:
    """The valves."""
    rows = Rows("vscale")
    for layer, (theta, c) in enumerate(run.valves):
        rows.add(layer=layer, kv_head=np.arange(len(theta)), theta=theta.cpu().numpy(), C=c.cpu().numpy())
    return rows.frame()
