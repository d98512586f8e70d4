"""Times as they are typed and said."""

import pytest

from sinkscope.durations import duration_text, seconds_of
from sinkscope.errors import RequestError


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        ("90s", 90), ("5m", 300), ("5min", 300), ("2h", 7200), ("1d", 86400), ("90", 90), ("0.5h", 1800),
        ("1h30m", 5400), (" 10 ", 10), ("1.5", 1.5), ("2H", 7200),
    ],
)  # fmt: skip
def test_times_are_read(written: str, seconds: float) -> None:
    assert seconds_of(written) == seconds


@pytest.mark.parametrize("written", ["", "soon", "5x", "-5m", "0", "0s", "nan", "inf", "m", "5m5h", "1e400"])
def test_what_is_no_time_is_refused_in_one_line(written: str) -> None:
    with pytest.raises(RequestError, match=r"^`budget` is a time, as 90s, 5m or 2h, not ") as error:
        seconds_of(written)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("seconds", "said"), [(0.44, "0.44 s"), (12.3, "12 s"), (100, "1.7 min"), (3600, "1 h"), (90000, "1 d")]
)
def test_times_are_said_in_their_unit(seconds: float, said: str) -> None:
    assert duration_text(seconds) == said
