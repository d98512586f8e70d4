"""Equations (11), (12) and (13): table `bounds` and the pairs that `scatter` samples.

Value bounds cover positions 0..early and, in a sequence and layer, every position where some head has a sink (or all
positions, as the settings say); norm bounds cover every token. A value bound of 0 is left out, and so is a token
without gradient, which has no Compress.
"""

import math
from collections.abc import Iterator

import pandas as pd

from reference.attention import alphas, mass, second_moment
from reference.eager import Layer, Measured
from sinkscope.capture.settings import Settings

NORMS = {"attn": "hn", "mlp": "hn2"}
TOLERANCE = 1e-4
Pairs = dict[tuple[int, str, int | None, int | None, int], tuple[float, float]]


def bound_pairs(measured: Measured, settings: Settings) -> Pairs:
    """(bound, measured) by layer, bound's name, kv head, sequence and position; zero bounds left out."""
    pairs: Pairs = {}
    for n, sequence in enumerate(measured.sequences):
        for i, layer in enumerate(sequence.layers):
            for s in covered(layer, len(sequence), settings):
                for j, name, bound, value in _value_bounds(layer, s):
                    pairs[i, name, j, n, s] = bound, value
            for branch, site in NORMS.items():
                if branch not in layer.vjp:
                    continue
                for s in range(len(sequence)):
                    upstream = float(layer.grad[site][s].norm())
                    if upstream > 0:
                        compress = float(layer.vjp[branch][s].norm()) / upstream
                        bound = layer.gain[branch] / float(layer.rms[branch][s])
                        pairs[i, f"compress_{branch}", None, n, s] = bound, compress
    return {key: pair for key, pair in pairs.items() if pair[0] > 0}


def covered(layer: Layer, length: int, settings: Settings) -> list[int]:
    """The positions whose columns are measured in this sequence and layer."""
    if settings.columns == "all":
        return list(range(length))
    found = set(range(min(settings.early + 1, length)))
    for weights in layer.weights:
        found |= {s for s, alpha in alphas(weights, settings).items() if alpha > settings.sink_epsilon}
    return sorted(found)


def _value_bounds(layer: Layer, s: int) -> Iterator[tuple[int, str, float, float]]:
    """Equation (12) for every kv head at position s: kv head, name, bound, |dL/dv_s|."""
    kv_heads = layer.grad["v_scaled"].shape[1]
    group = len(layer.weights) // kv_heads
    for j in range(kv_heads):
        members = range(j * group, (j + 1) * group)
        g = [float(layer.grad["y"][t, h].norm()) for h in members for t in range(s, len(layer.grad["y"]))]
        total_mass = sum(mass(layer.weights[h], s) for h in members)
        total_moment = sum(second_moment(layer.weights[h], s) for h in members)
        value = float(layer.grad["v_scaled"][s, j].norm())
        yield j, "value_mass", total_mass * max(g), value
        yield j, "value_moment", total_moment**0.5 * sum(size**2 for size in g) ** 0.5, value


def bounds(measured: Measured, settings: Settings) -> pd.DataFrame:
    """Table `bounds`."""
    found: dict[tuple[int, str], list[float]] = {}
    for (i, name, *_), (bound, value) in bound_pairs(measured, settings).items():
        found.setdefault((i, name), []).append(value / bound)
    rows = [
        (i, name, len(ratios), max(ratios), sum(ratios) / len(ratios), sum(r > 1 + TOLERANCE for r in ratios))
        for (i, name), ratios in found.items()
    ]
    return pd.DataFrame(rows, columns=["layer", "bound", "checked", "max_ratio", "mean_ratio", "violations"])


def scatter_pairs(measured: Measured, settings: Settings) -> Pairs:
    """Every pair that table `scatter` may sample."""
    return {**bound_pairs(measured, settings), **_slope_pairs(measured)}


def slope_sums(measured: Measured, settings: Settings) -> pd.DataFrame:
    """Table `slope_sums`: equation (11), a pair for each kv head, early position and sequence."""
    of: dict[tuple[int, int], list[tuple[float, float]]] = {}
    for (i, _, _, n, s), (square, gradient) in _slope_pairs(measured).items():
        pairs = of.setdefault((i, n), [])
        if s <= settings.early and square > 0 and gradient > 0:
            pairs.append((math.log(square), math.log(gradient)))
    columns = ["layer", "sequence", "pairs", "x", "y", "xx", "xy", "yy"]
    rows = [
        (i, n, float(len(pairs)), sum(x for x, _ in pairs), sum(y for _, y in pairs), sum(x * x for x, _ in pairs),
         sum(x * y for x, y in pairs), sum(y * y for _, y in pairs))
        for (i, n), pairs in of.items()
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=columns)


def _slope_pairs(measured: Measured) -> dict[tuple[int, str, int, int, int], tuple[float, float]]:
    """M_s^2, summed over a group's heads before it is squared, and |dL/dv_s|^2, of every single sequence."""
    pairs = {}
    for n, sequence in enumerate(measured.sequences):
        for i, layer in enumerate(sequence.layers):
            kv_heads = layer.grad["v_scaled"].shape[1]
            group = len(layer.weights) // kv_heads
            for j in range(kv_heads):
                for s in range(len(sequence)):
                    total = sum(mass(layer.weights[h], s) for h in range(j * group, (j + 1) * group))
                    pairs[i, "mass_slope", j, n, s] = total**2, float(layer.grad["v_scaled"][s, j].norm()) ** 2
    return pairs
