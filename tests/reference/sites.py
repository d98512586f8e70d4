"""Equations (3) to (5): tables `sites`, `positions`, `values`, `massive` and `sequences`."""

from collections.abc import Callable, Iterator

import pandas as pd
import torch
from torch import Tensor

from reference.attention import alphas
from reference.eager import Measured, Sequence
from sinkscope.capture.settings import Settings
from sinkscope.sites import Site

MASSIVE_SITES = ("h_out", "r_mlp", "r_attn", "down_in")
SEQUENCE_SITES = ("h_out", "r_mlp", "r_attn", "v_scaled")


def layers_and_sites(measured: Measured) -> Iterator[tuple[int, str]]:
    """Every layer with every site it has."""
    for i, layer in enumerate(measured.sequences[0].layers):
        for site in Site:
            if site.value in layer.x:
                yield i, site.value


def row_count(measured: Measured, settings: Settings) -> int:
    """How many early positions have rows: those of equation (3), 0 to 15, always."""
    return min(max(settings.positions, 16), max(len(sequence) for sequence in measured.sequences))


def sites(measured: Measured) -> pd.DataFrame:
    """Table `sites`."""
    rows = []
    for i, site in layers_and_sites(measured):
        states = [sequence.layers[i].flat(site) for sequence in measured.sequences]
        medians = torch.stack([state.abs().flatten().median() for state in states])
        values = torch.cat([state.flatten() for state in states])
        centred = values - values.mean()
        kurtosis = centred.pow(4).mean() / centred.pow(2).mean() ** 2
        rows.append((i, site, float(values.abs().max()), float(medians.median()), float(kurtosis)))
    return pd.DataFrame(rows, columns=["layer", "site", "abs_max", "abs_median", "kurtosis"])


def positions(measured: Measured, settings: Settings) -> pd.DataFrame:
    """Table `positions`."""
    rows = []
    for i, site in layers_and_sites(measured):
        for s in range(row_count(measured, settings)):
            present = [sequence.layers[i] for sequence in measured.sequences if len(sequence) > s]
            norms = [float(layer.flat(site)[s].norm()) for layer in present]
            gradient = torch.stack([layer.flat_grad(site)[s] for layer in present]).sum(0)
            rows.append((i, site, s, sum(norms) / len(norms), max(norms), float(gradient.norm())))
    return pd.DataFrame(rows, columns=["layer", "site", "position", "norm", "norm_max", "grad_norm"])


def values(measured: Measured, settings: Settings) -> pd.DataFrame:
    """Table `values`."""
    rows = []
    for i, layer in enumerate(measured.sequences[0].layers):
        _, kv_heads, width = layer.x["v_scaled"].shape
        for j in range(kv_heads):
            for s in range(row_count(measured, settings)):
                present = [sequence.layers[i].x for sequence in measured.sequences if len(sequence) > s]
                raw = [float(x["v"][s, j * width : (j + 1) * width].norm()) for x in present]
                scaled = [float(x["v_scaled"][s, j].norm()) for x in present]
                rows.append((i, j, s, sum(raw) / len(raw), sum(scaled) / len(scaled)))
    return pd.DataFrame(rows, columns=["layer", "kv_head", "position", "norm", "norm_scaled"])


def massive(measured: Measured, token: Callable[[int], str]) -> pd.DataFrame:
    """Table `massive`: the 8 largest entries of each layer, site and sequence, then every further massive one."""
    rows = []
    for n, sequence in enumerate(measured.sequences):
        for i, layer in enumerate(sequence.layers):
            for site in MASSIVE_SITES:
                if site not in layer.x:
                    continue
                for rank, (s, channel, value, ratio) in enumerate(_by_size(layer.x[site])):
                    is_massive = abs(value) > 100 and not ratio < 1000  # over a median of 0 any is
                    if rank >= 8 and not is_massive:
                        break
                    rows.append((i, site, n, s, token(int(sequence.ids[s])), channel, value, ratio, is_massive))
    names = ["layer", "site", "sequence", "position", "token", "channel", "value", "ratio_to_median", "is_massive"]
    return pd.DataFrame(rows, columns=names)


def massive_counts(measured: Measured) -> pd.DataFrame:
    """Table `massive_counts`, entry by entry."""
    rows = []
    for n, sequence in enumerate(measured.sequences):
        for i, layer in enumerate(sequence.layers):
            for site in MASSIVE_SITES:
                if site not in layer.x:
                    continue
                size = layer.x[site].abs()
                places = [
                    (s, channel)
                    for s, channel in torch.nonzero(size > 100).tolist()
                    if float(size[s, channel]) >= 1000 * float(size.flatten().median())
                ]
                if places:
                    rows.append((i, site, n, len(places), *(len(set(which)) for which in zip(*places, strict=True))))
    return pd.DataFrame(rows, columns=["layer", "site", "sequence", "entries", "positions", "channels"])


def _by_size(state: Tensor) -> Iterator[tuple[int, int, float, float]]:
    """Entries of a hidden state [T, d] from the largest down: position, channel, value, |value| / median (or NaN)."""
    median = float(state.abs().flatten().median())
    width = state.shape[1]
    order = state.abs().flatten().argsort(descending=True)
    for index in order[:100].tolist():
        value = float(state[index // width, index % width])
        yield index // width, index % width, value, abs(value) / median if median else float("nan")


def sequences(measured: Measured, settings: Settings) -> pd.DataFrame:
    """Table `sequences`."""
    rows: list[tuple[int | None, int, str, float]] = []
    for n, sequence in enumerate(measured.sequences):
        rows.append((None, n, "loss", float(sequence.losses.mean())))
        for i, layer in enumerate(sequence.layers):
            firsts = [alphas(weights, settings)[0] for weights in layer.weights]
            rows.append((i, n, "sink_rate", sum(a > settings.sink_epsilon for a in firsts) / len(firsts)))
            rows.append((i, n, "abs_max", float(layer.x["h_out"].abs().max())))
            for site in SEQUENCE_SITES:
                norms = _norms(sequence, i, site)
                early = norms[1:16]
                rows.append((i, n, f"{site}_t0", norms[0]))
                rows.append((i, n, f"{site}_early", sum(early) / len(early)))
    targets = [len(sequence.losses) for sequence in measured.sequences]
    if len(set(targets)) > 1:
        rows += [(None, n, "targets", float(count)) for n, count in enumerate(targets)]
    return pd.DataFrame(rows, columns=["layer", "sequence", "metric", "value"]).astype({"layer": "Int64"})


def _norms(sequence: Sequence, layer: int, site: str) -> list[float]:
    """Token norms; those of the values averaged over their heads, equation (4)."""
    x = sequence.layers[layer].x[site]
    return [float(row.norm(dim=-1).mean()) for row in x]
