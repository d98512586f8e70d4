"""From whole maps: tables `heads`, `sinks`, `sink_norms`, `maps`, `map_tokens`; columns of `layers`.

At a position, a mean over sequences is over the sequences that have a value there: alpha_s exists where the sequence is
long enough for a full window after s, mass and second moment wherever the position exists.
"""

from typing import Any

import pandas as pd
import torch
from torch import Tensor

from reference.eager import Measured
from sinkscope.capture.settings import Settings


def alphas(weights: Tensor, settings: Settings) -> dict[int, float]:
    """alpha_s of one map [T, T] for every s that has it, equation (1)."""
    length, window = len(weights), settings.sink_window
    if length < window:
        return {0: float(weights[:, 0].sum()) / length}
    return {s: float(weights[s : s + window, s].sum()) / window for s in range(length - window + 1)}


def mass(weights: Tensor, s: int) -> float:
    """M_s of one map [T, T], equation (2)."""
    return float(weights[s:, s].sum())


def second_moment(weights: Tensor, s: int) -> float:
    """S_s of one map [T, T], equation (2)."""
    return float(weights[s:, s].square().sum())


def alpha_table(measured: Measured, settings: Settings) -> pd.DataFrame:
    """Every alpha of every sequence, layer and head: layer, head, sequence, position, alpha, sink."""
    rows = []
    for n, sequence in enumerate(measured.sequences):
        for i, layer in enumerate(sequence.layers):
            for h, weights in enumerate(layer.weights):
                for s, alpha in alphas(weights, settings).items():
                    rows.append((i, h, n, s, alpha, alpha > settings.sink_epsilon))
    return pd.DataFrame(rows, columns=["layer", "head", "sequence", "position", "alpha", "sink"])


def heads(measured: Measured, settings: Settings) -> pd.DataFrame:
    """Table `heads`."""
    rows = []
    for (i, h, s), group in alpha_table(measured, settings).groupby(["layer", "head", "position"]):
        if s > 0 and not group["sink"].any():
            continue
        maps = [sequence.layers[i].weights[h] for sequence in measured.sequences if len(sequence) > s]
        rows.append(
            {
                "layer": i,
                "head": h,
                "position": s,
                "alpha": group["alpha"].mean(),
                "sink_fraction": group["sink"].mean(),
                "mass": sum(mass(weights, s) for weights in maps) / len(maps),
                "second_moment": sum(second_moment(weights, s) for weights in maps) / len(maps),
            }
        )
    return pd.DataFrame(rows)


def sinks(measured: Measured, settings: Settings, token: Any) -> pd.DataFrame:
    """Table `sinks`; `token(id)` is the token's text."""
    table = alpha_table(measured, settings)
    table = table[table["sink"]].drop(columns="sink")
    text = [token(int(measured.sequences[n].ids[s])) for n, s in zip(table["sequence"], table["position"], strict=True)]
    table.insert(4, "token", text)
    return table


def sink_norms(measured: Measured, settings: Settings, token: Any) -> pd.DataFrame:
    """Table `sink_norms`; `token(id)` is the token's text."""
    table = alpha_table(measured, settings)
    heads = table[table["sink"]].groupby(["layer", "sequence", "position"]).size()
    rows = []
    for n, sequence in enumerate(measured.sequences):
        for i, layer in enumerate(sequence.layers):
            norms = [float(x.norm()) for x in layer.x["h_in"]]
            for s, own in enumerate(norms):
                count = int(heads.get((i, n, s), 0))
                if s == 0 or count:
                    rank = 1 + sum(norm > own for norm in norms)
                    rows.append((i, n, s, token(int(sequence.ids[s])), count, own, rank, len(norms)))
    names = ["layer", "sequence", "position", "token", "heads", "norm", "rank", "positions"]
    return pd.DataFrame(rows, columns=names)


def map_tokens(measured: Measured, token: Any, size: int = 128) -> pd.DataFrame:
    """Table `map_tokens`: the first tokens of the first sequence."""
    ids = [int(i) for i in measured.sequences[0].ids][:size]
    return pd.DataFrame({"position": range(len(ids)), "token": [token(i) for i in ids]})


def extreme_heads(measured: Measured, settings: Settings) -> set[tuple[int, int]]:
    """(layer, head) with the layer's largest and smallest alpha_0 in the run's first sequence."""
    chosen = set()
    for i, layer in enumerate(measured.sequences[0].layers):
        firsts = [alphas(weights, settings)[0] for weights in layer.weights]
        chosen |= {(i, firsts.index(max(firsts))), (i, firsts.index(min(firsts)))}
    return chosen


def window_map(weights: Tensor, size: int = 128) -> dict[tuple[int, int], float]:
    """Cells (row, column) of the first `size` tokens' map, column <= row."""
    length = min(size, len(weights))
    return {(t, j): float(weights[t, j]) for t in range(length) for j in range(t + 1)}


def pooled_map(weights: Tensor, size: int = 64) -> dict[tuple[int, int], float]:
    """Cells of the pooled map with every query sampled: mean over a cell's queries of the weight on a cell's keys."""
    length = len(weights)
    cells = min(size, length)
    total = torch.zeros(cells, cells, dtype=torch.float64)
    queries = [0] * cells
    for t in range(length):
        queries[t * cells // length] += 1
        for j in range(t + 1):
            total[t * cells // length, j * cells // length] += weights[t, j]
    return {(r, c): float(total[r, c]) / queries[r] for r in range(cells) for c in range(r + 1)}


def maps(measured: Measured, settings: Settings) -> pd.DataFrame:
    """Table `maps`; its pooled cells hold where every query is sampled, which up to 512 tokens is so."""
    rows = []
    for i, h in sorted(extreme_heads(measured, settings)):
        weights = measured.sequences[0].layers[i].weights[h]
        for kind, cells in (("window", window_map(weights)), ("pooled", pooled_map(weights))):
            rows += [(i, h, kind, row, column, weight) for (row, column), weight in cells.items()]
    return pd.DataFrame(rows, columns=["layer", "head", "kind", "row", "column", "weight"])
