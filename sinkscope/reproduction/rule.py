"""From one number per training to an interval, and from the interval to a verdict: nothing here is decided by eye.

A test has a bound, margin included, and a direction. Its number is compared on a scale of its own, the logarithm for
ratios of positive numbers. With the 95 % interval [low, high]:

    reproduced       the whole interval lies on the claimed side of the bound (between both bounds, of an equivalence)
    not reproduced   the whole interval lies on the other side (outside of the bounds)
    undecided        it reaches over a bound, or there is none
    not testable     the number cannot be had here, or what the claim presupposes was itself not reproduced

Trainings that differ by seed are the units: Student's t of their numbers. Seeds are pairs, the same initialization and
the same batches, so a number that sets two models against each other is formed pair by pair first. What other text
would change is a variance of its own and is added: all seeds are measured on the same sequences, so it is that of
their mean under common bootstrap draws, or over sequences whose numbers are added. Where it is undefined, as the ratio
of a number that is 0 under some draw, there is no interval. From one training, or of one public model, the interval is
over sequences, or where gradients are summed over all sequences over layers; it then says nothing of what another
training would show.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from sinkscope.intervals import limits
from sinkscope.intervals.draws import Array
from sinkscope.intervals.verdicts import REFUTED, REPRODUCED, UNDECIDED, UNTESTABLE
from sinkscope.intervals.wilson import wilson

SEEDS, SEQUENCES, BLOCKS, LAYERS = "seeds", "sequences", "blocks of sequences", "layers"
EXACT, NOTHING = "exact", ""

Scale = Literal["log", "linear"]
Direction = Literal["above", "below", "within", "at most"]


@dataclass(frozen=True)
class One:
    """A number of one training, or of one pair of trainings that share a seed.

    Attributes:
        value: the number, as it is shown.
        draws: the same under bootstrap draws of sequences.
        units: numbers of units that are resampled in the mind alone (layers, sequences), on the test's scale: their
            mean is the value on that scale, or their jackknife's pseudo-values.
        over: what the units are, or what is drawn.
        ends: Wilson's interval over sequences, of a share that is 0 or 1 in all of them.
        missing: why there is no number.
    """

    value: float = math.nan
    draws: limits.Drawn | None = None
    units: Array | None = None
    over: str = NOTHING
    ends: limits.Interval | None = None
    missing: str = ""

    @property
    def summed(self) -> bool:
        """Whether its units are sequences, whose mean it is."""
        return self.units is not None and self.over == SEQUENCES


@dataclass(frozen=True)
class Estimate:
    """What all trainings say together.

    Attributes:
        value: the number.
        low: lower end of its 95 % interval; NaN where it has none.
        high: upper end.
        over: what the interval is over.
        count: how many of these.
        spread: variance over seeds that one seed has, on the test's scale; NaN from one training.
        text: variance that other text adds to the mean over seeds.
        missing: why there is no number, or no interval.
        share: whether it is a share that is 0 or 1 in every seed, with Wilson's interval.
    """

    value: float
    low: float
    high: float
    over: str
    count: int
    spread: float = math.nan
    text: float = 0.0
    missing: str = ""
    share: bool = False


def estimate(ones: Sequence[One], scale: Scale, direction: Direction) -> Estimate:
    """The number of several trainings, or of one, with its interval.

    Args:
        ones: a number per training, or per pair.
        scale: on which it is compared.
        direction: of the test; of "at most" the largest number is its own interval.
    """
    missing = next((one.missing for one in ones if one.missing), "")
    if missing or not ones:
        return Estimate(math.nan, math.nan, math.nan, NOTHING, 0, missing=missing or "nothing was measured")
    if direction == "at most":
        largest = max(one.value for one in ones)
        return Estimate(largest, largest, largest, EXACT, len(ones))
    values = _on(scale, np.array([one.value for one in ones]))
    if not np.isfinite(values).all():
        return Estimate(_off(scale, float(values.mean())), math.nan, math.nan, NOTHING, 0, missing=_undefined(ones))
    mean = float(values.mean())
    text = _text(ones, scale)
    if len(ones) > 1:
        spread = float(values.var(ddof=1))
        if math.isnan(text):
            return _made(scale, mean, 0.0, NOTHING, 0, spread, text, _untold(ones))
        half = limits.student(len(ones) - 1) * math.sqrt(spread / len(ones) + text)
        if half == 0 and all(one.ends is not None for one in ones):
            return Estimate(mean, *wilson(mean * len(ones), len(ones)), SEEDS, len(ones), 0.0, share=True)
        missing = "" if half > 0 else "all seeds agree to the last digit, so there is no spread"
        return _made(scale, mean, half, SEEDS, len(ones), spread, text, missing)
    one = ones[0]
    if one.units is not None and np.isfinite(one.units).all() and len(one.units) >= limits.FEWEST:
        half = limits.student(len(one.units) - 1) * math.sqrt(float(one.units.var(ddof=1)) / len(one.units))
        missing = "" if half > 0 else f"all {one.over} agree to the last digit, so there is no spread"
        return _made(scale, mean, half, one.over, len(one.units), missing=missing)
    units = 0 if one.draws is None else one.draws.units
    drawn = one.over or SEQUENCES
    if text > 0 and units >= limits.FEWEST:
        half = limits.student(units - 1) * math.sqrt(text)
        return _made(scale, mean, half, drawn, units, text=text)
    if one.ends is not None:
        return Estimate(one.value, *one.ends, SEQUENCES, units)
    missing = "no text changes it: several trainings are needed"
    if text > 0:
        missing = f"{units} {drawn} are too few for an interval"
    elif math.isnan(text):
        missing = _untold(ones)
    return _made(scale, mean, 0.0, NOTHING, 0, missing=missing)


def verdict(found: Estimate, direction: Direction, bounds: tuple[float, float]) -> str:
    """The word for a number with its interval.

    Args:
        found: of `estimate`.
        direction: the claimed side: above the first bound, below the second, within both, or at most the second.
        bounds: lower and upper; the one that the direction does not use is not read.
    """
    low, high = found.low, found.high
    if math.isnan(found.value):
        return UNTESTABLE
    if math.isnan(low) or math.isnan(high):
        return UNDECIDED
    inside = {
        "above": low > bounds[0],
        "below": high < bounds[1],
        "within": bounds[0] <= low and high <= bounds[1],
        "at most": high <= bounds[1],
    }
    outside = {
        "above": high < bounds[0],
        "below": low > bounds[1],
        "within": high < bounds[0] or low > bounds[1],
        "at most": low > bounds[1],
    }
    return REPRODUCED if inside[direction] else REFUTED if outside[direction] else UNDECIDED


def seeds_needed(found: Estimate, scale: Scale, direction: Direction, bounds: tuple[float, float]) -> float:
    """The smallest number of seeds whose interval would leave out the bound in four of five repetitions.

    Returns:
        The number, of the ratio and the spread that were measured; NaN where the spread over seeds is not known, or
        where `limits.MOST_SEEDS` would not do.
    """
    distance = _distance(found, scale, direction, bounds)
    if math.isnan(distance):
        return math.nan
    if found.share:
        enough = (n for n in range(2, limits.MOST_SEEDS + 1)
                  if verdict(replace(found, low=(ends := wilson(found.value * n, n))[0], high=ends[1]), direction,
                             bounds) != UNDECIDED)  # fmt: skip
        return float(next(enough, math.nan))
    return limits.seeds_needed(math.exp(distance), found.spread, found.text)


def text_hides(found: Estimate, scale: Scale, direction: Direction, bounds: tuple[float, float]) -> bool:
    """Whether it is the text and not the seeds that no number of seeds would get past: more sequences would."""
    distance = _distance(found, scale, direction, bounds)
    return (
        not math.isnan(distance) and not found.share and limits.text_hides(math.exp(distance), found.spread, found.text)
    )


def _distance(found: Estimate, scale: Scale, direction: Direction, bounds: tuple[float, float]) -> float:
    """From the number over seeds to the nearest bound, on the test's scale; NaN where either cannot be had."""
    used = {"above": bounds[:1], "below": bounds[1:], "within": bounds, "at most": ()}[direction]
    if not used or not math.isfinite(found.value) or math.isnan(found.spread) or found.missing:
        return math.nan
    here = float(_on(scale, np.array([found.value]))[0])
    return min(100.0, *(abs(here - float(_on(scale, np.array([bound]))[0])) for bound in used))


def together(verdicts: Sequence[str]) -> str:
    """The word of a claim from those of its tests: it holds where all hold, and falls with the first that falls."""
    for word in (REFUTED, UNDECIDED, UNTESTABLE):
        if word in verdicts:
            return word
    return REPRODUCED


def _made(
    scale: Scale,
    mean: float,
    half: float,
    over: str,
    count: int,
    spread: float = math.nan,
    text: float = 0.0,
    missing: str = "",
) -> Estimate:
    if missing:
        return Estimate(_off(scale, mean), math.nan, math.nan, over, count, spread, text, missing)
    return Estimate(_off(scale, mean), _off(scale, mean - half), _off(scale, mean + half), over, count, spread, text)


def _text(ones: Sequence[One], scale: Scale) -> float:
    """Variance of the mean over trainings that other text would add: 0 where there is none, NaN where undefined."""
    summed = [one.units for one in ones if one.units is not None and one.summed]
    if len(summed) == len(ones):
        if len({len(each) for each in summed}) > 1 or len(summed[0]) < 2:
            return math.nan
        return float(np.mean(summed, axis=0).var(ddof=1)) / len(summed[0])
    drawn = [one.draws for one in ones if one.draws is not None]
    if all(np.isfinite(each.values).all() and not each.varies for each in drawn):
        return 0.0
    units = min(each.units for each in drawn)
    if len(drawn) < len(ones) or len({len(each.values) for each in drawn}) > 1 or units < 2:
        return math.nan
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.mean([_on(scale, each.values) for each in drawn], axis=0)
    return limits.variance(limits.Drawn(mean, units)) if np.isfinite(mean).all() else math.nan


def _untold(ones: Sequence[One]) -> str:
    """Why what other text would change is not known."""
    units = (1 if one.draws is None else one.draws.units for one in ones if not one.summed)
    if min(units, default=1) < 2:
        return "a single sequence does not tell what other text would change"
    return "on some of the text it is 0 or undefined"


def _undefined(ones: Sequence[One]) -> str:
    return "the number is 0 or undefined" if ones else ""


def _on(scale: Scale, values: Array) -> Array:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.log(values) if scale == "log" else values


def _off(scale: Scale, value: float) -> float:
    return math.exp(min(value, 700.0)) if scale == "log" else value
