"""Simulated data with a known truth, and how often each kind of interval that the project prints covers it.

A simulation draws fresh data, makes the interval by the project's own functions and counts how often the truth lies
inside. The data are skewed as measured ones are: losses, norms and ratios are lognormal, documents of very different
length. `docs/intervals.md` prints the results, and `test_coverage.py` holds it to them.
"""

import math
from collections.abc import Callable

import numpy as np

from sinkscope.intervals import limits
from sinkscope.intervals.draws import draws
from sinkscope.intervals.gradient_sink_blocks import ratios
from sinkscope.intervals.limits import Drawn, Interval
from sinkscope.intervals.loss_bootstrap import ratio_interval
from sinkscope.intervals.wilson import wilson
from sinkscope.quantities.slope import slope

Random = np.random.Generator
BOOTSTRAP = 400


def share(trials: int, seed: int, trial: Callable[[Random], tuple[Interval, float]]) -> float:
    """The share of trials whose interval holds the truth."""
    random = np.random.default_rng(seed)
    hits = 0
    for _ in range(trials):
        (low, high), truth = trial(random)
        hits += low <= truth <= high
    return hits / trials


def multiplicities(units: int) -> np.ndarray:
    """The bootstrap draws of n units."""
    return np.concatenate(list(draws(units, BOOTSTRAP, 0)))


def mean_of_positive(units: int, trials: int) -> float:
    """A mean over sequences of a positive metric: values of `analyze`, `compare`, `track`."""
    weights = multiplicities(units)

    def trial(random: Random) -> tuple[Interval, float]:
        x = random.lognormal(0, 0.5, units)
        return limits.resampled(float(x.mean()), Drawn(weights @ x / units, units)), math.exp(0.125)

    return share(trials, 1, trial)


def mean_of_either_sign(units: int, trials: int) -> float:
    """A mean over sequences of a metric of either sign, as theta or a correlation would be."""
    weights = multiplicities(units)

    def trial(random: Random) -> tuple[Interval, float]:
        x = random.gamma(4, 1, units) - 4.5
        return limits.resampled(float(x.mean()), Drawn(weights @ x / units, units)), -0.5

    return share(trials, 2, trial)


def paired_ratio(units: int, trials: int) -> float:
    """The ratio of two runs on the same sequences, which share what makes a text hard."""
    weights = multiplicities(units)

    def trial(random: Random) -> tuple[Interval, float]:
        hard = random.normal(0, 0.5, units)
        a, b = (np.exp(hard + random.normal(0, 0.4, units)) for _ in range(2))
        return limits.from_draws(float(a.mean() / b.mean()), Drawn((weights @ a) / (weights @ b), units)), 1.0

    return share(trials, 3, trial)


def largest_layer(units: int, trials: int) -> float:
    """The largest of six layers' means, whose truth is that of the mean over endless text."""
    weights = multiplicities(units)
    means = np.array([0.2, 0.3, 0.5, 0.9, 0.7, 0.4])

    def trial(random: Random) -> tuple[Interval, float]:
        x = means * random.lognormal(-0.045, 0.3, (units, len(means)))
        drawn = Drawn((weights @ x / units).max(1), units)
        return limits.resampled(float(x.mean(0).max()), drawn), 0.9

    return share(trials, 4, trial)


def gradient_sink(units: int, trials: int, coherent: float = 1.5) -> float:
    """R_GS, median over three layers, from gradient blocks; the truth is its mean over texts of as many sequences."""
    weights = multiplicities(units)

    def products(random: Random) -> np.ndarray:
        fixed = np.random.default_rng(99).normal(0, 0.3, (3, 8, 1, 20))
        fixed[:, 0] += coherent
        g = fixed + random.normal(0, 1, (3, 8, units, 20))
        return g @ g.transpose(0, 1, 3, 2)

    other = np.random.default_rng(5)
    truth = float(np.mean([np.median(ratios(products(other))[0]) for _ in range(300)]))

    def trial(random: Random) -> tuple[Interval, float]:
        made = products(random)
        drawn = Drawn(np.median(ratios(made, weights), axis=1), units)
        return limits.resampled(float(np.median(ratios(made)[0])), drawn), truth

    return share(trials, 5, trial)


class Pairs:
    """Pairs of mass and gradient of one model on made-up sequences: layers, and sequences, have slopes of their own."""

    LAYERS, EACH = 6, 24

    def __init__(self, random: Random, sequences: int) -> None:
        model = np.random.default_rng(17)
        shape = (sequences, self.LAYERS, self.EACH)
        level, layer_slope = model.normal(0, 1, self.LAYERS), model.normal(0.9, 0.25, self.LAYERS)
        place = model.normal(0, 1.2, (self.LAYERS, self.EACH))
        of_sequence = random.normal(0, 0.5, (sequences, 1, 1))
        own_slope = random.normal(0, 0.15, (sequences, 1, 1))
        self.x = place + random.normal(0, 0.8, shape)
        tilt = layer_slope[:, None] + own_slope
        self.y = level[:, None] + tilt * self.x + of_sequence + random.normal(0, 0.7, shape)

    def sums(self) -> dict[str, np.ndarray]:
        """The sums of the table `slope_sums`, [sequence, layer]."""
        x, y = self.x, self.y
        parts = {"pairs": np.ones_like(x), "x": x, "y": y, "xx": x * x, "xy": x * y, "yy": y * y}
        return {f"slope_{name}": part.sum(2) for name, part in parts.items()}


class Weighted:
    """Weighted means of sums over sequences, as `intervals.sample` has them."""

    def __init__(self, sums: dict[str, np.ndarray], weights: np.ndarray) -> None:
        self._sums, self._weights = sums, weights

    def by_layer(self, name: str) -> np.ndarray:
        return self._weights @ self._sums[name] / self._weights.sum(1, keepdims=True)


def _line(pairs: Pairs) -> float:
    return float(slope(Weighted(pairs.sums(), np.ones((1, len(pairs.x)))))[0])


def over_sequences(pairs: Pairs) -> Interval:
    """The project's: sequences are drawn."""
    units = len(pairs.x)
    return limits.resampled(_line(pairs), Drawn(slope(Weighted(pairs.sums(), multiplicities(units))), units))


def over_layers(pairs: Pairs) -> Interval:
    """The other choice: layers are drawn, each with all its sequences."""
    sums = {name: values.sum(0)[:, None] for name, values in pairs.sums().items()}
    units = Pairs.LAYERS
    return limits.resampled(_line(pairs), Drawn(slope(Weighted(sums, multiplicities(units))), units))


def independent_pairs(pairs: Pairs) -> Interval:
    """The textbook's, as if every pair were drawn by itself."""
    (line, _), covariance = np.polyfit(pairs.x.ravel(), pairs.y.ravel(), 1, cov=True)
    half = 1.96 * math.sqrt(covariance[0, 0])
    return float(line) - half, float(line) + half


def mass_slope(units: int, trials: int, interval: Callable[[Pairs], Interval] = over_sequences) -> float:
    """The slope of gradient on mass; the truth is the slope of the same model on endless text."""
    truth = _line(Pairs(np.random.default_rng(6), 20_000))
    return share(trials, 7, lambda random: (interval(Pairs(random, units)), truth))


def loss(units: int, trials: int) -> float:
    """A loss over documents of lognormal length, as `evaluate` and `quantize` have it."""

    def trial(random: Random) -> tuple[Interval, float]:
        counts = np.ceil(random.lognormal(5, 0.7, units))
        per_token = 2.5 + random.normal(0, 0.4, units) + 0.2 * random.standard_exponential(units)
        return ratio_interval(per_token * counts, counts, seed=0, draws=BOOTSTRAP), 2.7

    return share(trials, 8, trial)


def paired_change(units: int, trials: int) -> float:
    """A change of the loss on the same windows, as by quantization: small, and skewed."""

    def trial(random: Random) -> tuple[Interval, float]:
        counts = np.full(units, 511.0)
        per_token = 0.01 * random.gamma(4, 1, units) - 0.005
        return ratio_interval(per_token * counts, counts, seed=0, draws=BOOTSTRAP), 0.035

    return share(trials, 9, trial)


def needles(units: int, trials: int) -> float:
    """The smallest coverage over shares of 0.1 % to 99.9 %, exactly; `trials` is not needed."""
    del trials
    found = np.array([wilson(count, units) for count in range(units + 1)])
    worst = 1.0
    for p in np.linspace(0.001, 0.999, 999):
        logs = [math.lgamma(units + 1) - math.lgamma(k + 1) - math.lgamma(units - k + 1) for k in range(units + 1)]
        chance = np.exp(np.array(logs) + np.arange(units + 1) * math.log(p)
                        + np.arange(units, -1, -1) * math.log(1 - p))  # fmt: skip
        worst = min(worst, float(chance[(found[:, 0] <= p) & (p <= found[:, 1])].sum()))
    return worst


def seeds(units: int, trials: int) -> float:
    """The ratio of two means over n seeds each, with sequences that add a variance of their own."""

    def trial(random: Random) -> tuple[Interval, float]:
        text = random.normal(0, 0.05)  # shared by all seeds of a name, as they read the same sequences
        sides = [random.lognormal(0, 0.25, units) for _ in range(2)]
        ratio = float(sides[0].mean() / sides[1].mean()) * math.exp(text)
        variance = sum(limits.spread_of_mean(side) for side in sides) + 0.05**2
        return limits.over_seeds(ratio, variance, units - 1), 1.0

    return share(trials, 10, trial)


def paired_seeds(units: int, trials: int) -> float:
    """The same over n pairs, which share what their seed does."""

    def trial(random: Random) -> tuple[Interval, float]:
        text, seed = random.normal(0, 0.05), random.normal(0, 0.3, units)
        a, b = (np.exp(seed + random.normal(0, 0.15, units)) for _ in range(2))
        variance = limits.spread_of_paired_ratio(a, b) + 0.05**2
        return limits.over_seeds(float(a.mean() / b.mean()) * math.exp(text), variance, units - 1), 1.0

    return share(trials, 12, trial)


def scores(units: int, trials: int) -> float:
    """A mean score over questions with its standard error, as a harness's f1."""

    def trial(random: Random) -> tuple[Interval, float]:
        x = random.beta(2, 3, units)
        half = limits.student(units - 1) * float(x.std(ddof=1)) / math.sqrt(units)
        return (float(x.mean()) - half, float(x.mean()) + half), 0.4

    return share(trials, 11, trial)


SIMULATIONS: dict[str, tuple[Callable[[int, int], float], tuple[int, ...]]] = {
    "mean of positive": (mean_of_positive, (3, 8, 32)),
    "mean of either sign": (mean_of_either_sign, (3, 8, 32)),
    "paired ratio": (paired_ratio, (3, 8, 32)),
    "largest layer": (largest_layer, (3, 8, 32)),
    "gradient sink": (gradient_sink, (3, 8, 32)),
    "slope": (mass_slope, (3, 8, 32)),
    "loss": (loss, (3, 8, 32)),
    "paired change": (paired_change, (3, 8, 32)),
    "share": (needles, (5, 25, 100)),
    "seeds": (seeds, (2, 3, 5)),
    "paired seeds": (paired_seeds, (2, 3, 5)),
    "score": (scores, (3, 25, 100)),
}
