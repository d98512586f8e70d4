"""What a measured model is calibrated on where nobody says it."""

import pytest

from sinkscope.inputs import MethodOptions, TextSource
from sinkscope.methods.calibration_text import named_text


@pytest.mark.parametrize(
    ("evaluated", "calibrated"),
    [
        ("stdlib-prose", "stdlib-code"),
        ("stdlib-code", "stdlib-prose"),
        ("stdlib", "stdlib"),
        ("a.txt", "stdlib"),
    ],
)
def test_the_text_is_not_the_evaluated_one(evaluated: str, calibrated: str) -> None:
    """Of `stdlib` itself the documents behind the evaluated ones are read."""
    assert named_text(TextSource(evaluated), MethodOptions()).data == calibrated


def test_what_is_named_is_taken() -> None:
    assert named_text(TextSource("stdlib-prose"), MethodOptions(calibration_data="b.txt")).data == "b.txt"
