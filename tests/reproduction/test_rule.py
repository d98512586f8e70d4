"""The rule of verdicts on made numbers, every test of every claim among them."""

import math
import statistics
from dataclasses import replace

import numpy as np
import pytest

from sinkscope.intervals.limits import Drawn, student
from sinkscope.intervals.verdicts import CLAIMED, REFUTED, REPRODUCED, UNDECIDED, UNTESTABLE
from sinkscope.intervals.wilson import wilson
from sinkscope.reproduction.claim import Test
from sinkscope.reproduction.claims import CLAIMS, TESTS
from sinkscope.reproduction.judge import judged_number
from sinkscope.reproduction.rule import (
    LAYERS,
    SEEDS,
    SEQUENCES,
    One,
    estimate,
    seeds_needed,
    text_hides,
    together,
    verdict,
)

each_test = pytest.mark.parametrize("test", TESTS.values(), ids=TESTS)
T2 = 4.302653  # 97.5 % point of Student's t with two degrees of freedom


def bound_of(test: Test) -> float:
    return test.bounds[0] if test.direction in ("above", "within") else test.bounds[1]


def moved(test: Test, by: float) -> float:
    """A number beside a test's bound: into the claimed side where `by` is positive."""
    bound, sign = bound_of(test), 1.0 if test.direction in ("above", "within") else -1.0
    if test.scale == "log":
        return bound * math.exp(sign * by)
    return bound + sign * by * (abs(bound) or 1.0)


def seeds(test: Test, middle: float, spread: float) -> list[One]:
    return [One(moved(test, middle + spread * step)) for step in (-1.0, 0.0, 1.0)]


@each_test
def test_each_claim_is_reproduced_beyond_its_bound(test: Test) -> None:
    middle = 0.2 if test.direction == "within" else 0.5
    assert judged_number(test, seeds(test, middle, 0.01), refuted=False).verdict == REPRODUCED


@each_test
def test_each_claim_is_refuted_on_the_other_side(test: Test) -> None:
    assert judged_number(test, seeds(test, -0.5, 0.01), refuted=False).verdict == REFUTED


@each_test
def test_each_claim_is_undecided_where_the_interval_reaches_over_the_bound(test: Test) -> None:
    if test.direction == "at most":  # an identity has no interval: its largest value decides
        assert judged_number(test, [One(0.0), One(1.1)], refuted=False).verdict == REFUTED
        return
    found = judged_number(test, seeds(test, 0.1, 0.2), refuted=False)
    assert found.verdict == UNDECIDED
    assert found.needed > 3


@each_test
def test_each_claim_is_untestable_without_a_number_or_its_ground(test: Test) -> None:
    ones = seeds(test, 0.2, 0.01)
    found = judged_number(test, [*ones[:2], One(missing="no gradients")], refuted=False)
    assert (found.verdict, found.reason) == (UNTESTABLE, "no gradients")
    given = judged_number(replace(test, given="massive"), ones, refuted=True)
    assert given.verdict == UNTESTABLE
    assert "massive was not reproduced" in given.reason


@pytest.mark.parametrize("scale", ["linear", "log"])
def test_the_interval_over_seeds_is_students(scale: str) -> None:
    values = [0.4, 0.5, 0.8]
    on = [math.log(value) if scale == "log" else value for value in values]
    mean, half = statistics.mean(on), T2 * statistics.stdev(on) / math.sqrt(3)
    ends = [math.exp(end) if scale == "log" else end for end in (mean - half, mean + half)]
    found = estimate([One(value) for value in values], scale, "above")  # type: ignore[arg-type]
    assert (found.low, found.high) == pytest.approx(ends)
    assert (found.over, found.count) == (SEEDS, 3)


def test_what_other_text_would_change_is_added() -> None:
    draws = np.random.default_rng(0).normal(0, 0.3, 500)
    ones = [One(value, Drawn(value + draws, 16)) for value in (1.0, 1.2, 1.1)]
    found = estimate(ones, "linear", "above")
    variance = statistics.variance([1.0, 1.2, 1.1]) / 3 + np.var(draws) * 16 / 15
    assert found.high - found.value == pytest.approx(T2 * math.sqrt(variance))


def test_one_training_has_an_interval_over_sequences_or_layers_alone() -> None:
    draws = np.random.default_rng(0).normal(2, 0.1, 400)
    found = estimate([One(2.0, Drawn(draws, 16))], "linear", "above")
    assert (found.over, found.count) == (SEQUENCES, 16)
    assert found.high - found.value == pytest.approx(student(15) * math.sqrt(np.var(draws) * 16 / 15))
    layers = np.array([0.1, 0.3, 0.2, 0.4])
    found = estimate([One(math.exp(layers.mean()), units=layers, over=LAYERS)], "log", "above")
    half = student(3) * statistics.stdev(layers.tolist()) / 2
    assert (found.over, found.count) == (LAYERS, 4)
    assert found.high == pytest.approx(math.exp(layers.mean() + half))


@pytest.mark.parametrize(
    ("one", "reason"),
    [
        (One(2.0), "several trainings"),
        (One(2.0, Drawn(np.full(10, 2.0), 16)), "several trainings"),
        (One(2.0, Drawn(np.arange(10.0), 2)), "2 sequences are too few"),
    ],
)
def test_no_interval_is_undecided_and_says_why(one: One, reason: str) -> None:
    found = estimate([one], "linear", "above")
    assert verdict(found, "above", (1.0, math.inf)) == UNDECIDED
    assert reason in found.missing
    assert math.isnan(seeds_needed(found, "linear", "above", (1.0, math.inf)))


def test_a_share_that_is_full_everywhere_has_wilsons_interval() -> None:
    full = One(1.0, Drawn(np.ones(10), 20), ends=wilson(20, 20))
    alone, three = (estimate([full] * count, "linear", "above") for count in (1, 3))
    assert (alone.low, alone.high) == wilson(20, 20)
    assert (three.low, three.high) == wilson(3, 3)
    assert verdict(alone, "above", (0.5, math.inf)) == REPRODUCED
    assert verdict(three, "above", (0.5, math.inf)) == UNDECIDED
    needed = seeds_needed(three, "linear", "above", (0.5, math.inf))
    assert wilson(needed, int(needed))[0] > 0.5 >= wilson(needed - 1, int(needed) - 1)[0]


def test_seeds_needed_would_do_four_times_in_five_and_one_fewer_would_not() -> None:
    values = [0.9, 1.3, 1.2, 0.8]
    found = estimate([One(value) for value in values], "linear", "above")
    needed = seeds_needed(found, "linear", "above", (0.9, math.inf))
    spread, distance = statistics.variance(values), statistics.mean(values) - 0.9
    random = np.random.default_rng(0)

    def told(count: int) -> float:
        """The share of repetitions with so many seeds whose interval leaves out the bound."""
        drawn = random.normal(distance, math.sqrt(spread), (20_000, count))
        half = student(count - 1) * drawn.std(axis=1, ddof=1) / math.sqrt(count)
        return float((drawn.mean(axis=1) > half).mean())

    assert told(int(needed)) == pytest.approx(0.8, abs=0.03)
    assert told(int(needed)) > told(int(needed) - 2)
    assert seeds_needed(found, "linear", "above", (0.9 - 10, math.inf)) == 2


def test_where_the_text_hides_the_bound_no_seeds_would_do() -> None:
    draws = np.random.default_rng(0).normal(0, 0.3, 500)
    bounds = (1.0, math.inf)
    found = estimate([One(value, Drawn(value + draws, 16)) for value in (1.2, 1.3, 1.1)], "linear", "above")
    assert math.isnan(seeds_needed(found, "linear", "above", bounds))
    assert text_hides(found, "linear", "above", bounds)
    judged = judged_number(replace(TESTS["sinks"], bounds=bounds, span=(-9, 9)), [One(value, Drawn(value + draws, 16))
                           for value in (1.2, 1.3, 1.1)], refuted=False)  # fmt: skip
    assert judged.verdict == UNDECIDED
    assert "more sequences are needed" in judged.reason
    # A number on the bound is told by nothing, with whatever text.
    alone = [One(value, Drawn(value + draws - draws.mean(), 16)) for value in (0.5, 1.5, 1.0)]
    assert not text_hides(estimate(alone, "linear", "above"), "linear", "above", bounds)


@pytest.mark.parametrize(
    ("draws", "units", "why"),
    [(np.array([1.0, np.nan, 1.2]), 16, "on some of the text"), (np.array([np.nan, np.nan, np.nan]), 1, "single")],
)
def test_text_that_leaves_a_number_undefined_takes_its_interval(draws: np.ndarray, units: int, why: str) -> None:
    ones = [One(value, Drawn(draws, units)) for value in (1.01, 1.02, 1.03)]
    for some in (ones, ones[:1]):
        found = estimate(some, "linear", "above")
        assert math.isnan(found.low)
        assert why in found.missing
        assert verdict(found, "above", (0.5, math.inf)) == UNDECIDED


def test_a_number_that_has_no_logarithm_is_not_judged() -> None:
    found = estimate([One(0.0), One(0.5)], "log", "below")
    assert verdict(found, "below", (-math.inf, 0.5)) == UNDECIDED
    assert found.missing


def test_an_interval_ends_where_the_number_can_not_lie() -> None:
    found = judged_number(TESTS["sinks"], [One(0.1), One(0.4)], refuted=False).found
    assert (found.low, found.high) == (0.0, 1.0)
    none = judged_number(TESTS["sinks"], [One(0.1)], refuted=False).found
    assert math.isnan(none.low)
    assert math.isnan(none.high)


def test_a_claim_falls_with_its_first_test() -> None:
    assert together([REPRODUCED, REPRODUCED]) == REPRODUCED
    assert together([REPRODUCED, UNTESTABLE]) == UNTESTABLE
    assert together([REPRODUCED, UNTESTABLE, UNDECIDED]) == UNDECIDED
    assert together([*CLAIMED]) == REFUTED


def test_tests_are_named_apart_and_presuppose_what_comes_before_them() -> None:
    names = [test.name for claim in CLAIMS for test in claim.tests]
    assert len(set(names)) == len(names)
    for place, name in enumerate(names):
        given = TESTS[name].given
        assert given is None or given in names[:place]
