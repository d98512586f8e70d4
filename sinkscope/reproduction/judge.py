"""Every claim against its tests: from what was measured of all seeds to the tables of verdicts."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import pandas as pd

from sinkscope.intervals.verdicts import REFUTED, REPRODUCED, UNDECIDED, UNTESTABLE
from sinkscope.reproduction.claim import Claim, Test
from sinkscope.reproduction.claims import CLAIMS
from sinkscope.reproduction.measures import Seed, numbers
from sinkscope.reproduction.rule import Estimate, One, estimate, seeds_needed, text_hides, together, verdict
from sinkscope.tables.builder import Rows

_TEXT_HIDES = "the text alone hides it: more sequences are needed"


@dataclass(frozen=True)
class Judged:
    """A test with its verdict.

    Attributes:
        test: the test.
        ones: its number of every seed.
        found: the estimate from them.
        verdict: the word.
        needed: seeds that an undecided one would need; NaN where that is not known.
        reason: why there is no number, no interval, or nothing to test.
    """

    test: Test
    ones: list[One]
    found: Estimate
    verdict: str
    needed: float
    reason: str


def judged(seeds: Sequence[Seed], *, trained: bool) -> dict[str, Judged]:
    """Every test by name, in the order of the claims.

    Args:
        seeds: what was measured, a seed each.
        trained: whether there is a trio; of one model, only what needs no training is tested.
    """
    results: dict[str, Judged] = {}
    for claim in CLAIMS:
        for test in claim.tests:
            if test.trained and not trained:
                continue
            results[test.name] = _judged(test, seeds, results)
    return results


def judged_number(test: Test, ones: list[One], refuted: bool) -> Judged:
    """The verdict of a test from its numbers.

    Args:
        test: the test.
        ones: its number of every seed.
        refuted: whether what it presupposes was not reproduced.
    """
    found = estimate(ones, test.scale, test.direction)
    low, high = (min(max(end, test.span[0]), test.span[1]) for end in (found.low, found.high))  # NaN stays NaN
    found = replace(found, low=low, high=high)
    if refuted:
        reason = f"{test.given} was not reproduced, so there is nothing to test"
        return Judged(test, ones, found, UNTESTABLE, math.nan, reason)
    word = verdict(found, test.direction, test.bounds)
    if word != UNDECIDED:
        return Judged(test, ones, found, word, math.nan, found.missing)
    needed = seeds_needed(found, test.scale, test.direction, test.bounds)
    hidden = text_hides(found, test.scale, test.direction, test.bounds)
    return Judged(test, ones, found, word, needed, _TEXT_HIDES if hidden else found.missing)


def _judged(test: Test, seeds: Sequence[Seed], before: dict[str, Judged]) -> Judged:
    given = before.get(test.given or "")
    return judged_number(test, numbers(test, seeds), given is not None and given.verdict == REFUTED)


def tests_table(results: dict[str, Judged]) -> pd.DataFrame:
    """The table `tests`."""
    rows = Rows("tests")
    for claim in CLAIMS:
        for test in _made(claim, results):
            one = results[test.name]
            found = one.found
            rows.add(
                claim=claim.number, test=test.name, says=test.says, number=test.number,
                models=" against ".join(test.models), value=found.value, low=found.low, high=found.high,
                over=found.over, count=found.count, direction=test.direction, lower_bound=_finite(test.bounds[0]),
                upper_bound=_finite(test.bounds[1]), verdict=one.verdict, seeds_needed=one.needed, reason=one.reason,
                paper=test.paper,
            )  # fmt: skip
    return rows.frame()


def claims_table(results: dict[str, Judged]) -> pd.DataFrame:
    """The table `claims`: those of which some test was made."""
    rows = Rows("claims")
    for claim in CLAIMS:
        words = [results[test.name].verdict for test in _made(claim, results)]
        if words:
            says = claim.says if len(words) == len(claim.tests) else f"{claim.says} [the baseline's part alone]"
            rows.add(claim=claim.number, says=says, verdict=together(words), tests=len(words),
                     reproduced=words.count(REPRODUCED))  # fmt: skip
    return rows.frame()


def values_table(results: dict[str, Judged], seeds: Sequence[int]) -> pd.DataFrame:
    """The table `seed_values`."""
    rows = Rows("seed_values")
    for name, one in results.items():
        for seed, number in zip(seeds, one.ones, strict=True):
            rows.add(test=name, seed=seed, value=number.value)
    return rows.frame()


def _made(claim: Claim, results: dict[str, Judged]) -> list[Test]:
    return [test for test in claim.tests if test.name in results]


def _finite(bound: float) -> float:
    return bound if math.isfinite(bound) else math.nan
