"""Which windows fit a time, given what one sequence of each length takes.

Statistics over sequences need several of them, and what is measured in a sequence needs its length. So the longest
windows are taken of which `ENOUGH` fit, and as many of them as fit; where that many fit of no length, the shortest ones
are taken. Nothing is ever chosen larger than what would be measured without a budget, and what was given is kept.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from sinkscope.durations import duration_text
from sinkscope.errors import RequestError

ENOUGH = 8  # sequences
SHORTEST = 128  # tokens, where a model can read as many


class Chosen(NamedTuple):
    """Windows that fit, and the seconds they take."""

    sequences: int
    tokens: int
    seconds: float


def lengths_of(longest: int, shortest: int = SHORTEST) -> list[int]:
    """The lengths that are tried, shortest first: halvings of the longest."""
    lengths = [longest]
    while lengths[-1] // 2 >= shortest:
        lengths.append(lengths[-1] // 2)
    return lengths[::-1]


def fitting(
    seconds: float,
    lengths: Mapping[int, Callable[[int], float]],
    *,
    sequences: int | None,
    most: int,
    fewest: int = 1,
) -> Chosen | None:
    """The windows that fit a time; None where none do.

    Args:
        seconds: the time.
        lengths: by tokens, shortest first, what a number of sequences takes, in seconds. It grows with both, and may
            have to be measured, so that nothing longer is looked at than could be taken.
        sequences: their number, where that is given; the length alone is chosen then.
        most: sequences where the number is chosen.
        fewest: sequences that there must be.
    """
    counts = [sequences] if sequences is not None else list(range(max(most, fewest), fewest - 1, -1))
    enough = min(ENOUGH, counts[0])
    best: Chosen | None = None
    for tokens, takes in lengths.items():
        fits = next((count for count in counts if takes(count) <= seconds), None)
        if fits is None or (best is not None and fits < enough):
            break
        best = Chosen(fits, tokens, takes(fits))
        if fits < enough:
            break
    return best


def in_words(sequences: int, tokens: int) -> str:
    """Windows, as `8 sequences of 512 tokens`."""
    return f"{sequences} sequence{'s' if sequences != 1 else ''} of {tokens} tokens"


def refusal(budget: str, smallest: str, seconds: float, *less: str) -> RequestError:
    """Why nothing fits a budget.

    Args:
        budget: as it was asked for.
        smallest: the least that could be done, in words.
        seconds: what that takes.
        less: what would make it less work, each as what to do.
    """
    ways = ", or ".join(("give it more", *less))
    return RequestError(f"`budget={budget}` is too short: {smallest} would take about {duration_text(seconds)}: {ways}")
