"""Every interval that is printed covers the truth as often as docs/intervals.md says, and at least nine times in ten.

The alternatives that were not taken are held too: percentiles of few sequences, and a slope whose pairs are taken as
independent, or whose layers are drawn.
"""

import re
from pathlib import Path

import numpy as np
import pytest
from intervals.simulations import (
    SIMULATIONS,
    Pairs,
    independent_pairs,
    mass_slope,
    multiplicities,
    over_layers,
    over_sequences,
    share,
)

import sinkscope

PAGE = (Path(__file__).parents[2] / "docs" / "intervals.md").read_text()
SLOW = {"slope": 400, "gradient sink": 300}  # simulations that take longer, and their trials
TRIALS = 1000


def printed(name: str) -> dict[int, int]:
    """What the page prints for a simulation: percent by number of units."""
    (row,) = [line for line in PAGE.splitlines() if line.startswith(f"| {name} |")]
    return {int(units): int(percent) for percent, units in re.findall(r"(\d+) % \((\d+)\)", row)}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if name in SLOW else name for name in SIMULATIONS]
)
def test_coverage_is_what_the_page_says(name: str) -> None:
    simulate, sizes = SIMULATIONS[name]
    found = {units: simulate(units, SLOW.get(name, TRIALS)) for units in sizes}
    assert min(found.values()) >= 0.9
    said = printed(name)
    assert set(said) == set(found)
    for units, coverage in found.items():
        assert abs(100 * coverage - said[units]) <= 1.01, units


def test_percentiles_of_few_sequences_are_too_narrow() -> None:
    weights = multiplicities(4)

    def trial(random: np.random.Generator) -> tuple[tuple[float, float], float]:
        low, high = np.quantile(weights @ random.lognormal(0, 0.5, 4) / 4, (0.025, 0.975))
        return (float(low), float(high)), float(np.exp(0.125))

    assert share(500, 1, trial) < 0.82


def test_pairs_of_one_sequence_are_not_independent_and_layers_are_no_sample() -> None:
    """Independent pairs miss the slope of other text; layers, which stay the same on other text, are far too wide."""
    assert mass_slope(32, 60, independent_pairs) < 0.8
    pairs = Pairs(np.random.default_rng(0), 32)
    wide, narrow = (interval(pairs)[1] - interval(pairs)[0] for interval in (over_layers, over_sequences))
    assert wide > 3 * narrow


def test_the_slope_does_not_depend_on_the_number_of_sequences() -> None:
    heads = [sinkscope.analyze("demo", sequences=count, tokens=64).headline for count in (4, 16)]
    few, many = (head["mass_slope"] for head in heads)
    assert few == pytest.approx(many, abs=0.1)
    assert heads[0]["mass_slope_low"] < many < heads[0]["mass_slope_high"]
    assert 0 < heads[1]["mass_slope_r2"] < 1
    assert heads[1]["mass_slope_pairs"] == 4 * heads[0]["mass_slope_pairs"]
