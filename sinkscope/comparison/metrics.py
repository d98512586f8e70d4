"""The compared metrics as rows of data: how each is computed, whether a ratio of it means anything, how it is judged.

A metric with an expression over layer means (`of`) gets bootstrap intervals. The others are read from the headline of
run.json: a maximum over all tokens or a count has no honest interval from a bootstrap over sequences, and a rank
correlation or a learned parameter is no mean over sequences at all. They are shown without one.

A new metric is one row.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from sinkscope.intervals.draws import Array
from sinkscope.intervals.sample import Sample

LOSS_MARGIN = 1.05


@dataclass(frozen=True)
class Metric:
    """A compared quantity.

    Attributes:
        name: its name in the table `comparison`: that of the headline where the headline has it.
        title: its name for readers, with the number of its equation.
        of: from layer means to the metric, one value per draw [b]; None reads the headline.
        judged: whether its ratio is formed and judged; it must be a positive quantity with a zero of its own.
        margin: equivalence margin of its own instead of the comparison's.
        backward: whether it needs gradients.
        short: its name inside a sentence; with one, it stands on the report's first page.
    """

    name: str
    title: str
    of: Callable[[Sample], Array] | None = None
    judged: bool = True
    margin: float | None = None
    backward: bool = False
    short: str = ""


def _loss(sample: Sample) -> Array:
    return sample.means("loss")[:, 0]


def _perplexity(sample: Sample) -> Array:
    return np.exp(np.minimum(_loss(sample), 700.0))


def _mean(metric: str) -> Callable[[Sample], Array]:
    return lambda sample: sample.means(metric).mean(1)


def _largest(metric: str) -> Callable[[Sample], Array]:
    return lambda sample: sample.means(metric).max(1)


def _over_early(site: str) -> Callable[[Sample], Array]:
    """Ratio of the means over layers of token 0 and of the early tokens."""
    return lambda sample: _quotient(sample.means(f"{site}_t0").mean(1), sample.means(f"{site}_early").mean(1))


def _over_early_largest(site: str) -> Callable[[Sample], Array]:
    """Largest ratio of a single layer."""
    return lambda sample: _quotient(sample.means(f"{site}_t0"), sample.means(f"{site}_early")).max(1)


def _gradient_sink(quantile: float) -> Callable[[Sample], Array]:
    def over_layers(sample: Sample) -> Array:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # all layers undefined: the result is NaN, as it should be
            return np.asarray(np.nanquantile(sample.gradient_sinks, quantile, axis=1), dtype=float)

    return over_layers


def _quotient(above: Array, below: Array) -> Array:
    with np.errstate(divide="ignore", invalid="ignore"):
        return above / below


def _norms(site: str, name: str, title: str, **short: str) -> tuple[Metric, ...]:
    rows = (
        ("t0_mean", f"{title} norm, token 0 (3), mean", _mean(f"{site}_t0")),
        ("t0_max", f"{title} norm, token 0, largest layer", _largest(f"{site}_t0")),
        ("early_mean", f"{title} norm, early, mean", _mean(f"{site}_early")),
        ("t0_over_early", f"{title} norm, token 0 / early", _over_early(site)),
        ("t0_over_early_max", f"{title} norm, token 0 / early, largest layer", _over_early_largest(site)),
    )
    return tuple(Metric(f"{name}_{key}", text, of, short=short.get(key, "")) for key, text, of in rows)


METRICS: tuple[Metric, ...] = (
    Metric("loss", "Loss [nats per token]", _loss, judged=False),
    Metric("perplexity", "Perplexity", _perplexity, margin=LOSS_MARGIN, short="perplexity"),
    Metric("sink_rate_mean", "Sink rate (1), mean", _mean("sink_rate"), short="sink rate"),
    Metric("sink_rate_max", "Sink rate, largest layer", _largest("sink_rate")),
    Metric("gradient_sink_median", "Gradient-sink ratio (6), median", _gradient_sink(0.5), backward=True,
           short="gradient sink"),
    Metric("gradient_sink_q25", "Gradient-sink ratio, lower quartile", _gradient_sink(0.25), backward=True),
    Metric("gradient_sink_q75", "Gradient-sink ratio, upper quartile", _gradient_sink(0.75), backward=True),
    *_norms("h_out", "residual", "Residual", t0_mean="residual norm at token 0",
           t0_over_early="residual norm of token 0 over early"),
    *_norms("r_mlp", "mlp", "MLP output", t0_mean="MLP output norm at token 0"),
    *_norms("r_attn", "attn", "Attention output", t0_mean="attention output norm at token 0"),
    Metric("abs_max_mean", "Largest |x| (5), mean over sequences", _largest("abs_max"), short="largest |x|"),
    Metric("value_scaled_t0_over_early", "|v| as attended to, token 0 / early (4)", _over_early("v_scaled")),
    Metric("value_drain", "|v| as projected, token 0 / early (4)"),
    Metric("abs_max", "Largest |x| of the run (5)"),
    Metric("kurtosis_max", "Largest kurtosis (5)"),
    Metric("massive_count", "Massive activations (5), entries"),
    Metric("gradient_share_k", "Gradient at token 0 by k (7)", backward=True),
    Metric("gradient_share_v", "Gradient at token 0 by v (7)", backward=True),
    Metric("mass_slope", "Slope of gradient on mass (11)", judged=False, backward=True),
    Metric("alpha_norm_correlation_median", "Rank correlation of alpha and norm", judged=False),
    Metric("theta_mean", "theta of V-scale (15), mean", judged=False),
)  # fmt: skip
"""In the order of the table."""

BY_NAME = {metric.name: metric for metric in METRICS}
