"""The numbers of the claims, read from the tables of finished runs.

A measure takes what was measured of the models that a test names, all of one training seed, and returns their number:
a headline quantity with its bootstrap draws over sequences, one over that of the baseline, or a number by layer or by
sequence. Everything was measured by the verbs before; this is arithmetic on their tables.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from sinkscope.intervals import limits
from sinkscope.intervals.draws import Array
from sinkscope.intervals.sample import Resampled, Sample
from sinkscope.intervals.wilson import wilson
from sinkscope.quantities.measured import NEIGHBOURS
from sinkscope.quantities.rows import quantity
from sinkscope.reproduction.claim import Test
from sinkscope.reproduction.first_query import first_query
from sinkscope.reproduction.rule import BLOCKS, LAYERS, SEQUENCES, One
from sinkscope.tables.run_folder import Run

STATIC, DYNAMIC, DOWN, NONE = "w8a8-static", "w8a8-dynamic", "w8a8-static-down", "none"
_SEED = 0  # of the draws
_NO_GRADIENTS = "gradients were not measured"


@dataclass(frozen=True)
class Seed:
    """What was measured of the models of one training seed, or of one public model.

    Attributes:
        analyses: by model of the trio.
        quantized: the run of `quantize` over them; None where there was none.
        names: what each model of the trio is called in it.
        unquantized: why there was none.
    """

    analyses: Mapping[str, Run]
    quantized: Run | None = None
    names: Mapping[str, str] = field(default_factory=dict)
    unquantized: str = "nothing was quantized"


Measure = Callable[[Seed, tuple[str, ...]], One]


def numbers(test: Test, seeds: Sequence[Seed]) -> list[One]:
    """The number of a test, a seed each."""
    return [MEASURES[test.measure](seed, test.models) for seed in seeds]


def headline(run: Run, name: str) -> One:
    """A headline quantity of one model that is a formula over layers, with its draws."""
    value, drawn = _drawn(run, name)
    if not np.isfinite(value):
        return One(missing=_absent(name, run))
    settled = quantity(name).ceiling == 1 and value in (0, 1) and not drawn.varies and drawn.units > 0
    ends = wilson(value * drawn.units, drawn.units) if settled else None
    return One(value, drawn, over=_of(run, drawn), ends=ends)


def loss_per_token(seed: Seed, model: str, method: str) -> One:
    """The loss of a model under a method of quantization, nats per token; its units are sequences."""
    return _damage((0, method, 1.0))(seed, (model,))


def _quantity(name: str) -> Measure:
    return lambda seed, models: headline(seed.analyses[models[0]], name)


def _over_baseline(name: str) -> Measure:
    """A headline quantity of the first model over that of the second, which read the same windows."""

    def measure(seed: Seed, models: tuple[str, ...]) -> One:
        (above, draws_above), (below, draws_below) = (_drawn(seed.analyses[model], name) for model in models)
        for value, model in zip((above, below), models, strict=True):
            if not np.isfinite(value):
                return One(missing=_absent(name, seed.analyses[model]))
        if below == 0:
            return One(missing=f"the {models[1]}'s is 0")
        with np.errstate(invalid="ignore", divide="ignore"):
            quotients = draws_above.values / draws_below.values
        drawn = limits.Drawn(quotients, min(draws_above.units, draws_below.units))
        return One(above / below, drawn, over=_of(seed.analyses[models[0]], drawn))

    return measure


def _of(run: Run, drawn: limits.Drawn) -> str:
    """What the draws are of: gradients are kept by blocks of sequences where there are many."""
    return SEQUENCES if drawn.units == run.info["data"]["sequences"] else BLOCKS


def _drawn(run: Run, name: str) -> tuple[float, limits.Drawn]:
    formula = quantity(name).over_layers
    if formula is None:
        raise ValueError(f"{name} is no formula over layers")
    return float(formula(Sample(run))[0]), Resampled(run, limits.DRAWS, _SEED, 0).drawn(formula)


def _absent(name: str, run: Run) -> str:
    return _NO_GRADIENTS if quantity(name).backward and not run.backward else "it was not measured"


def _by_layer(of: Callable[[Run], Array], *, log: bool) -> Measure:
    """A mean over layers, of logarithms where `log`; from one model its interval is over them."""

    def measure(seed: Seed, models: tuple[str, ...]) -> One:
        run = seed.analyses[models[0]]
        if not run.backward:
            return One(missing=_NO_GRADIENTS)
        values = of(run)
        values = values[np.isfinite(values)]
        if not len(values):
            return One(missing="no layer has it")
        mean = float(values.mean())
        return One(float(np.exp(mean)) if log else mean, units=values, over=LAYERS)

    return measure


def _pathways(run: Run) -> pd.DataFrame:
    """Gradient norms of q, k and v at token 0, by layer."""
    positions = run["positions"]
    rows = positions[(positions["position"] == 0) & positions["site"].isin(["q", "k", "v"])]
    return rows.pivot_table(index="layer", columns="site", values="grad_norm", dropna=False)


def _value_over_key(run: Run) -> Array:
    norms = _pathways(run)
    return _log(norms["v"].to_numpy()) - _log(norms["k"].to_numpy())


def _key_less_query(run: Run) -> Array:
    norms = _pathways(run)
    return ((norms["k"] - norms["q"]) / norms[["q", "k", "v"]].sum(axis=1)).to_numpy(dtype=float)


def _first_query(seed: Seed, models: tuple[str, ...]) -> One:
    """|dL/dq_0| over what rounding can leave of it."""
    run = seed.analyses[models[0]]
    return first_query(run) if run.backward else One(missing=_NO_GRADIENTS)


def _attention_branch(run: Run, column: str) -> pd.DataFrame:
    """Logarithms of a ratio of equation (8), layers x positions 0 to 15."""
    branches = run["branches"]
    rows = branches[(branches["branch"] == "attn") & (branches["position"] <= NEIGHBOURS[1])]
    table = rows.pivot_table(index="layer", columns="position", values=column, dropna=False)
    return pd.DataFrame(_log(table.to_numpy(dtype=float)), index=table.index, columns=table.columns)


def _at_zero(column: str) -> Callable[[Run], Array]:
    return lambda run: _attention_branch(run, column)[0].to_numpy()


def _bloat_over_early(run: Run) -> Array:
    table = _attention_branch(run, "bloat")
    return (table[0] - table.drop(columns=0).mean(axis=1)).to_numpy()


def _compress_slope(seed: Seed, models: tuple[str, ...]) -> One:
    """Least squares through all layers and positions; its units are the jackknife's pseudo-values over layers."""
    run = seed.analyses[models[0]]
    if not run.backward:
        return One(missing=_NO_GRADIENTS)
    x, y = (_attention_branch(run, column).to_numpy() for column in ("input_norm", "compress"))
    known = np.isfinite(x) & np.isfinite(y)
    slope = _slope(x[known], y[known])
    if not np.isfinite(slope):
        return One(missing="no layer has it")
    layers = np.flatnonzero(known.any(axis=1))
    without = [_slope(*(values[np.delete(layers, n)][known[np.delete(layers, n)]] for values in (x, y)))
               for n in range(len(layers))]  # fmt: skip
    return One(slope, units=len(layers) * slope - (len(layers) - 1) * np.array(without), over=LAYERS)


def _slope(x: Array, y: Array) -> float:
    if len(x) < 3 or np.ptp(x) == 0:
        return np.nan
    return float(((x - x.mean()) * (y - y.mean())).sum() / ((x - x.mean()) ** 2).sum())


def _theta(late: bool) -> Measure:
    """Mean theta over one half of the layers; of an odd number the middle one belongs to neither."""

    def measure(seed: Seed, models: tuple[str, ...]) -> One:
        run = seed.analyses[models[0]]
        if "vscale" not in run.tables:
            return One(missing="the model has no V-scale")
        by_layer = run["vscale"].groupby("layer")["theta"].mean().sort_index().to_numpy(dtype=float)
        half = len(by_layer) // 2
        values = by_layer[len(by_layer) - half :] if late else by_layer[:half]
        return One(float(values.mean()), units=values, over=LAYERS) if half else One(missing="it has one layer")

    return measure


def _damage(*terms: tuple[int, str, float]) -> Measure:
    """A sum of losses per token, each of a model of the test under a method, with a weight.

    Args:
        *terms: place of the model among the test's, method, weight.
    """

    def measure(seed: Seed, models: tuple[str, ...]) -> One:
        if seed.quantized is None:
            return One(missing=seed.unquantized)
        losses = seed.quantized["losses"]
        total: Array | float = 0.0
        for place, method, weight in terms:
            name = seed.names[models[place]]
            rows = losses[(losses["model"] == name) & (losses["method"] == method)].sort_values("sequence")
            if rows.empty:
                return One(missing=f"{method} was not measured")
            per_token = rows["loss_sum"].to_numpy(dtype=float) * len(rows) / rows["targets"].sum()
            total = total + weight * per_token
        values = np.asarray(total, dtype=float)
        return One(float(values.mean()), units=values, over=SEQUENCES)

    return measure


def _log(values: Array) -> Array:
    """Logarithms; NaN of what has none."""
    with np.errstate(invalid="ignore", divide="ignore"):
        logarithms = np.log(values.astype(float))
    return np.where(np.isfinite(logarithms), logarithms, np.nan)


MEASURES: dict[str, Measure] = {
    **{name: _quantity(name) for name in ("sink_rate_max", "residual_t0_over_early", "gradient_sink_median")},
    **{
        f"{name} / baseline": _over_baseline(name)
        for name in ("sink_rate_mean", "residual_t0_mean", "mlp_t0_mean", "gradient_sink_median")
    },
    "value gradient / key gradient": _by_layer(_value_over_key, log=True),
    "key share - query share": _by_layer(_key_less_query, log=False),
    "query gradient at 0": _first_query,
    "change at 0": _by_layer(_at_zero("change"), log=True),
    "bloat at 0": _by_layer(_at_zero("bloat"), log=True),
    "bloat at 0 / early": _by_layer(_bloat_over_early, log=True),
    "compress slope": _compress_slope,
    "theta, first half": _theta(late=False),
    "theta, second half": _theta(late=True),
    "static damage": _damage((0, STATIC, 1.0), (0, NONE, -1.0)),
    "dynamic damage": _damage((0, DYNAMIC, 1.0), (0, NONE, -1.0)),
    "static damage, difference": _damage((0, STATIC, 1.0), (0, NONE, -1.0), (1, STATIC, -1.0), (1, NONE, 1.0)),
    "down_proj's damage - half of all": _damage((0, DOWN, 1.0), (0, STATIC, -0.5), (0, NONE, -0.5)),
}
"""By name; see `claims`."""
