"""Times as people write and say them: `90s`, `5m`, `1h30m` in, `about 3 min` out."""

import re
from math import isfinite

from sinkscope.errors import RequestError

_UNITS = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0}
_WRITTEN = re.compile("".join(rf"(?:([0-9]+(?:\.[0-9]+)?){unit})?" for unit in _UNITS))
_NAMES = (("d", 86400.0), ("h", 3600.0), ("min", 60.0), ("s", 1.0))


def seconds_of(written: str, field: str = "budget") -> float:
    """Seconds of a time as it is typed: `90s`, `5m`, `2h`, `1h30m`, `1d`, or a plain number of seconds.

    Args:
        written: the time.
        field: what it was typed for, as errors name it.

    Raises:
        RequestError: if it is no time, or none that anything could be done in.
    """
    text = written.strip().lower().replace("min", "m")
    found = _WRITTEN.fullmatch(text)
    if text and found is not None:
        seconds = sum(float(number or 0) * _UNITS[unit] for number, unit in zip(found.groups(), _UNITS, strict=True))
    else:
        try:
            seconds = float(text)
        except ValueError:
            seconds = float("nan")
    if not (isfinite(seconds) and seconds > 0):
        raise RequestError(f"`{field}` is a time, as 90s, 5m or 2h, not {written or 'nothing'}")
    return seconds


def duration_text(seconds: float) -> str:
    """A time with two significant digits, in the unit that one would name it in."""
    unit, length = next((unit for unit in _NAMES if seconds >= unit[1]), _NAMES[-1])
    value = seconds / length
    return f"{value:.0f} {unit}" if value >= 10 else f"{value:.2g} {unit}"
