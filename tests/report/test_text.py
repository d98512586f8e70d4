"""Numbers and foreign words on paper."""

import pytest

from sinkscope.report.text import NOT_MEASURED, fitted, number, printable, quoted, width, wrapped


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, NOT_MEASURED),
        (float("nan"), NOT_MEASURED),
        (0, "0"),
        (0.0, "0.00"),
        (12345, "12,345"),
        (0.61749, "0.617"),
        (1.0, "1.00"),
        (346.4, "346"),
        (1916.2, "1,916"),
        (7.2e5, "720,000"),
        (-2434.6, "-2,435"),
        (3.1e8, "3.10e+08"),
        (0.00012345, "0.000123"),
        (float("inf"), "inf"),
    ],
)
def test_numbers(value: float | None, text: str) -> None:
    assert number(value) == text


def test_foreign_letters_and_line_breaks_are_escaped() -> None:
    assert printable("\u0120a\nb\u6f22'\\") == "\\u0120a\\nb\\u6f22'\\"
    assert quoted(" ") == '" "'
    assert quoted("\u0120\u2581the\u010a") == '"  the\\n"'


def test_long_texts_are_cut_at_either_end() -> None:
    assert printable("abcdefghij", 8) == "abcde..."
    assert printable("abcdefghij", 8, keep_end=True) == "...fghij"


def test_fitted_and_wrapped_texts_are_no_wider_than_asked() -> None:
    text = "of lines and words " * 20 + "w" * 200
    assert width(fitted(text, 100, 9), 9) <= 100
    lines = wrapped(text, 100, 9)
    assert all(width(line, 9) <= 100 for line in lines)
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")


def test_a_word_is_broken_after_a_dash_before_it_is_broken_inside() -> None:
    room = width("w8a8-static-", 9)
    assert wrapped("w8a8-static-down", room, 9) == ["w8a8-static-", "down"]
    assert "".join(wrapped("undashed" * 4, room, 9)) == "undashed" * 4
    assert all(width(line, 9) <= room for line in wrapped("undashed" * 4, room, 9))
