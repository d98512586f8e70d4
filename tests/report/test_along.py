"""Words on what caches do along the window: each follows from sums of single sequences, by a rule."""

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
from test_quantization import run as made_up

from sinkscope.intervals.loss_bootstrap import ratio_interval
from sinkscope.report.quantization import positions
from sinkscope.report.quantization.along import along_the_window, growth
from sinkscope.report.quantization.terminal import summary
from sinkscope.tables.builder import Rows
from sinkscope.tables.run_folder import Run

EDGES = (1, 2, 4, 8, 16)
SEQUENCES = 6
Change = Callable[[int, int], float]  # of the token at a position of a sequence


def run(changes: dict[str, Change]) -> Run:
    """A run whose changes of the loss per token are known; `delta` and its interval follow from them."""
    made = made_up(["demo"], ["none", *changes])
    losses, sums = Rows("losses"), Rows("position_losses")
    for method, change in {"none": lambda _s, _t: 0.0, **changes}.items():
        for s in range(SEQUENCES):
            for start, stop in pairwise(EDGES):
                total = sum(2 + change(s, t) for t in range(start, stop))
                sums.add(model="demo", method=method, sequence=s, start=start, stop=stop, loss_sum=total,
                         targets=stop - start, mitigation="none")  # fmt: skip
            losses.add(model="demo", method=method, sequence=s, loss_sum=sum(2 + change(s, t) for t in range(1, 16)),
                       targets=15, mitigation="none")  # fmt: skip
        of = np.array([sum(change(s, t) for t in range(1, 16)) for s in range(SEQUENCES)])
        low, high = ratio_interval(of, np.full(SEQUENCES, 15.0), seed=0)
        rows = made["quantization"]["method"] == method
        made["quantization"].loc[rows, ["delta", "delta_low", "delta_high"]] = [of.sum() / 15 / SEQUENCES, low, high]
    return Run(made.info, {**made.tables, "losses": losses.frame(), "position_losses": sums.frame()})


def wave(s: int, t: int) -> float:
    return 0.01 * ((7 * s + 3 * t) % 5)


def test_growth_agrees_with_a_loop() -> None:
    made = run({"cache-k2v2": lambda s, t: 0.02 * t + wave(s, t)})
    found = growth(made, "demo", "cache-k2v2")
    assert found is not None
    near, far = (
        [np.mean([0.02 * t + wave(s, t) for t in range(*ends)]) for s in range(SEQUENCES)] for ends in ((1, 4), (8, 16))
    )
    assert found.near == pytest.approx(np.mean(near))
    assert found.far == pytest.approx(np.mean(far))
    ends = ratio_interval(np.array(far) - np.array(near), np.ones(SEQUENCES), seed=0)
    assert (found.low, found.high) == pytest.approx(ends)


def test_words_follow_the_rules() -> None:
    made = run({
        "cache-k2v2": lambda s, t: 0.05 * t + wave(s, t),
        "cache-k2v2-sinks4": lambda s, t: 0.5 * (0.05 * t + wave(s, t)),
        "cache-k4v4": lambda s, t: 1 / t + wave(s, t),
        "cache-k4v4-sinks4": lambda s, t: 2 / t + wave(s, t),
        "cache-k8v8": lambda s, t: (-1) ** s * 0.1 * (t % 2),
        "cache-k8v8-sinks4": lambda s, t: wave(s, t),
        "w4": lambda s, t: 0.05 * t + wave(s, t),
    })  # fmt: skip
    growing, unclear, *kept = along_the_window(made)
    assert growing.startswith("By position, damage changes with distance: cache-k2v2 costs +0.")
    assert "; cache-k4v4 costs" in growing
    assert "w4" not in growing.replace("k2v2", "").replace("k4v4", "")
    assert unclear == (
        "By position, no change of the damage with distance can be told for cache-k8v8, cache-k8v8-sinks4."
    )
    assert len(kept) == 2  # what cache-k8v8 costs cannot be told from zero, so there is nothing to win back
    assert kept[0] == "Keeping the first 4 tokens exact wins back 50 % (50 to 50 %) of what cache-k2v2 costs."
    assert kept[1].startswith("Keeping the first 4 tokens exact makes cache-k4v4 worse, by ")
    assert all(sentence in str(summary(made)).replace("\n", " ") for sentence in kept)


def test_what_sinks_win_back_agrees_with_a_loop() -> None:
    made = run(
        {"cache-k2v2": lambda s, t: 0.3 + wave(s, t), "cache-k2v2-sinks1": lambda s, t: 0.1 + 7 * wave(2 * s, t)}
    )
    cost = np.array([sum(0.3 + wave(s, t) for t in range(1, 16)) for s in range(SEQUENCES)])
    won = cost - [sum(0.1 + 7 * wave(2 * s, t) for t in range(1, 16)) for s in range(SEQUENCES)]
    low, high = ratio_interval(won, cost, seed=0)
    said = f"{100 * won.sum() / cost.sum():.0f} % ({100 * low:.0f} to {100 * high:.0f} %)"
    assert f"Keeping the first token exact wins back {said} of what cache-k2v2 costs." in along_the_window(made)


def test_caches_that_are_joined_to_a_format_are_caches_too() -> None:
    made = run({"w4+cache-k2v2": lambda s, t: 0.05 * t + wave(s, t), "w4+cache-k2v2-sinks4": lambda _s, t: 0.02 * t})
    growing, kept = along_the_window(made)
    assert "; w4+cache-k2v2-sinks4 costs" in growing
    assert kept.startswith("Keeping the first 4 tokens exact wins back ")
    assert kept.endswith("of what w4+cache-k2v2 costs.")


def test_without_caches_or_losses_by_position_nothing_is_said() -> None:
    assert along_the_window(run({"w4": wave})) == []
    older = run({"cache-k2v2": lambda s, t: 0.05 * t + wave(s, t)})
    del older.tables["position_losses"], older.tables["quantization_positions"]
    assert along_the_window(older) == []
    assert not positions.ENTRY.applies_to(older)


def test_caches_have_a_panel_of_their_own() -> None:
    both = positions.ENTRY.draw(made_up(["demo"], ["none", "w8", "cache-k4v4"]))
    assert [axes.get_title() for axes in both.axes] == ["Caches", "Other methods"]
    one = positions.ENTRY.draw(made_up(["demo", "twin"], ["none", "w8"]))
    assert [axes.get_title() for axes in one.axes] == ["Other methods, demo", "Other methods, twin"]
    assert len(both.axes[0].get_lines()[0].get_xdata()) == 6  # of ten ranges those with at least 64 targets
    few = made_up(["demo"], ["none", "cache-k4v4"])
    few["quantization_positions"]["targets"] //= 16
    assert len(positions.ENTRY.draw(few).axes[0].get_lines()[0].get_xdata()) == 2
    few["quantization_positions"]["targets"] //= 2
    assert len(positions.ENTRY.draw(few).axes[0].get_lines()[0].get_xdata()) == 10
