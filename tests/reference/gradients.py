"""Equations (6) and (8): tables `branches`, `gradient_blocks` and the gradient-sink ratio of `layers`.

Gradients are summed over all sequences that have the position first; norms come after.
"""

import math

import pandas as pd
import torch
from torch import Tensor

from reference.eager import Measured
from reference.sites import row_count
from sinkscope.capture.settings import Settings

BRANCHES = {"attn": ("hn", "r_attn"), "mlp": ("hn2", "r_mlp")}


def batch_sum(measured: Measured, layer: int, site: str, s: int) -> Tensor:
    """The run's gradient at one position, summed over its sequences, [channels]."""
    parts = [sequence.layers[layer].flat_grad(site)[s] for sequence in measured.sequences if len(sequence) > s]
    return torch.stack(parts).sum(0)


def gradient_sink_ratio(measured: Measured, layer: int, settings: Settings) -> float:
    """R_GS(0; T_e) of a layer, equation (6)."""
    if "hn" not in measured.sequences[0].layers[layer].x:
        return math.nan
    last = min(settings.early, max(len(sequence) for sequence in measured.sequences) - 1)
    others = [float(batch_sum(measured, layer, "hn", t).norm()) for t in range(1, last + 1)]
    return ratio(float(batch_sum(measured, layer, "hn", 0).norm()), sum(others) / len(others))


def branches(measured: Measured, settings: Settings) -> pd.DataFrame:
    """Table `branches`."""
    rows = []
    for i, layer in enumerate(measured.sequences[0].layers):
        for branch, (normed, result) in BRANCHES.items():
            if normed not in layer.x:
                continue
            source, after = layer.streams[branch]
            for s in range(row_count(measured, settings)):
                size = {site: float(batch_sum(measured, i, site, s).norm()) for site in (source, normed, result, after)}
                present = [sequence.layers[i] for sequence in measured.sequences if len(sequence) > s]
                vjp = float(torch.stack([layer.vjp[branch][s] for layer in present]).sum(0).norm())
                norms = [float(layer.x[source][s].norm()) for layer in present]
                rows.append(
                    {
                        "layer": i,
                        "branch": branch,
                        "position": s,
                        "input_norm": sum(norms) / len(norms),
                        "bloat": ratio(size[normed], size[result]),
                        "change": ratio(size[source], size[after]),
                        "compress": ratio(vjp, size[normed]),
                    }
                )
    columns = ["layer", "branch", "position", "input_norm", "bloat", "change", "compress"]
    return pd.DataFrame(rows, columns=columns)


def gradient_blocks(measured: Measured, settings: Settings) -> pd.DataFrame:
    """Table `gradient_blocks`: at most 32 blocks of `size` consecutive sequences, a power of two."""
    count, size = len(measured.sequences), 1
    while (count - 1) // size >= 32:
        size *= 2
    blocks = (count - 1) // size + 1
    rows = []
    for i in range(len(measured.sequences[0].layers)):
        if "hn" not in measured.sequences[0].layers[i].x:
            continue
        width = measured.sequences[0].layers[i].grad["hn"].shape[1]
        for s in range(min(settings.early + 1, row_count(measured, settings))):
            sums = [torch.zeros(width, dtype=torch.float64) for _ in range(blocks)]
            for n, sequence in enumerate(measured.sequences):
                if len(sequence) > s:
                    sums[n // size] += sequence.layers[i].grad["hn"][s]
            rows += [(i, s, a, b, float(sums[a] @ sums[b])) for a in range(blocks) for b in range(a, blocks)]
    return pd.DataFrame(rows, columns=["layer", "position", "block_i", "block_j", "dot"])


def ratio(above: float, below: float) -> float:
    """A quotient, null where the denominator is 0."""
    return above / below if below else math.nan
