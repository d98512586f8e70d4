"""Which windows fit a time, by rates that the test sets: nothing is measured."""

from collections.abc import Callable

import pytest

from sinkscope.errors import RequestError
from sinkscope.planning.budget import ENOUGH, fitting, in_words, lengths_of, refusal


def rates(*lengths: int, fixed: float = 0.0) -> dict[int, Callable[[int], float]]:
    """A second per 1,000 tokens."""
    return {tokens: (lambda count, tokens=tokens: fixed + count * tokens / 1000) for tokens in lengths}


LENGTHS = (128, 256, 512, 1024, 2048)


def test_lengths_are_halvings() -> None:
    assert lengths_of(2048) == list(LENGTHS)
    assert lengths_of(300) == [150, 300]
    assert lengths_of(100) == [100]


@pytest.mark.parametrize(
    ("seconds", "sequences", "tokens"),
    [
        (1000, 32, 2048),  # all of it, and never more
        (32 * 2.048, 32, 2048),
        (20, 9, 2048),  # as many of the longest as fit, while they are enough
        (10, 9, 1024),
        (5, 9, 512),
        (1.2, 9, 128),
        (0.5, 3, 128),  # not enough of any length: the shortest
        (0.128, 1, 128),
    ],
)
def test_the_longest_windows_of_which_enough_fit(seconds: float, sequences: int, tokens: int) -> None:
    chosen = fitting(seconds, rates(*LENGTHS), sequences=None, most=32)
    assert chosen is not None
    assert (chosen.sequences, chosen.tokens) == (sequences, tokens)
    assert chosen.seconds == pytest.approx(sequences * tokens / 1000)
    assert chosen.seconds <= seconds


def test_what_is_given_is_kept() -> None:
    chosen = fitting(5, rates(*LENGTHS), sequences=4, most=32)
    assert chosen is not None
    assert (chosen.sequences, chosen.tokens) == (4, 1024)
    chosen = fitting(5, rates(2048), sequences=None, most=32)
    assert chosen is not None
    assert (chosen.sequences, chosen.tokens) == (2, 2048)


def test_what_is_spent_anyway_is_counted() -> None:
    chosen = fitting(12, rates(*LENGTHS, fixed=10), sequences=None, most=32)
    assert chosen is not None
    assert (chosen.sequences, chosen.tokens) == (15, 128)
    assert fitting(10, rates(*LENGTHS, fixed=10), sequences=None, most=32) is None


def test_every_process_gets_a_sequence() -> None:
    assert fitting(0.3, rates(128), sequences=None, most=32, fewest=3) is None
    chosen = fitting(0.4, rates(128), sequences=None, most=32, fewest=3)
    assert chosen is not None
    assert chosen.sequences == 3


def test_longer_windows_than_could_be_taken_are_not_tried() -> None:
    tried = []

    def takes(tokens: int) -> Callable[[int], float]:
        def seconds(count: int) -> float:
            tried.append(tokens)
            return count * tokens / 1000

        return seconds

    fitting(ENOUGH * 0.3, {tokens: takes(tokens) for tokens in LENGTHS}, sequences=None, most=32)
    assert max(tried) == 512


def test_a_refusal_says_what_the_least_takes() -> None:
    error = refusal("5s", in_words(1, 128), 75.0)
    assert isinstance(error, RequestError)
    said = "`budget=5s` is too short: 1 sequence of 128 tokens would take about 1.2 min: give it more"
    assert str(error) == said
    assert str(refusal("5s", in_words(1, 128), 75.0, "ask for fewer `tokens`")) == f"{said}, or ask for fewer `tokens`"
