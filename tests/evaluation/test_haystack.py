"""Where sentences are hidden, against a search over all places."""

import numpy as np
import pytest

from sinkscope.evaluation.haystack import REACH, hide, place, read_haystack
from sinkscope.text.documents import Document

WORDS = ["One", "two", "three.", "Four", "five", "(six?)", "seven", "eight!", "Nine", "ten", "eleven", "twelve"]


@pytest.mark.parametrize("depth", np.linspace(0, 1, 23))
def test_place_is_the_nearest_end_of_a_sentence(depth: float) -> None:
    target = round(depth * len(WORDS))
    ends = [0, 3, 6, 8, len(WORDS)]
    assert abs(place(WORDS, depth) - target) == min(abs(end - target) for end in ends)
    assert place(WORDS, depth) in ends


def test_text_without_sentences_is_parted_between_words() -> None:
    words = ["word"] * 200
    assert place(words, 0.5) == 100
    assert place(words, 0.0) == 0
    assert place(words, 0.999) == 200  # the end is within reach
    assert place(words, (200 - REACH - 1) / 200) == 200 - REACH - 1
    assert place([], 0.7) == 0


def test_hide() -> None:
    text, starts = hide(WORDS[:6], [(6, "LAST."), (3, "MIDDLE."), (0, "FIRST."), (3, "TOO.")])
    assert text == "FIRST. One two three. MIDDLE. TOO. Four five (six?) LAST."
    assert [text[start:].split()[0] for start in starts] == ["LAST.", "MIDDLE.", "FIRST.", "TOO."]
    assert hide([], [(0, "ALONE.")]) == ("ALONE.", [0])


def test_reading_stops_when_there_is_enough() -> None:
    def documents() -> object:
        yield Document("a", "one\n  two")
        yield Document("b", "three four")
        raise AssertionError("read too far")

    assert read_haystack(documents(), 3).words == ["one", "two", "three"]
    assert read_haystack([Document("a", "one")], 3).words == ["one"]
