"""Names beside a panel: broken to what its width can spare, and the height that they then need."""

import re

from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.ticker import FixedLocator

from sinkscope.report.figure.sizes import SMALL
from sinkscope.report.text import literal, wrapped

_LEADING = 1.35
_NUMBER = re.compile(r"^[-+\u2212]?[\d.,]+(e[-+]?\d+)?$|^10[\u207b\u2070\u00b9\u00b2\u00b3\u2074-\u2079]+$")


def plain(text: str) -> str:
    """A drawn text as it was before its dollar signs were protected."""
    return text.replace(r"\$", "$")


def broken(text: str, points: float, size: float) -> str:
    """A drawn text in lines no wider than `points`; breaks that it has already stay."""
    if re.search(r"(?<!\\)\$", text):  # mathematics, which has no blanks to break at
        return text
    lines = [line for part in plain(text).split("\n") for line in wrapped(part, points, size) or [""]]
    return literal("\n".join(lines))


def are_names(axis: Axis) -> bool:
    """Whether an axis names things rather than counting or measuring them."""
    if not isinstance(axis.get_major_locator(), FixedLocator):
        return False
    return any(not _NUMBER.match(label.get_text()) for label in axis.get_ticklabels() if label.get_text())


def break_names(axes: Axes, points: float) -> float:
    """Breaks the names on the vertical axis to `points`.

    Returns:
        The height in inches that they need; 0 where there are none.
    """
    if not axes.axison or not are_names(axes.yaxis):
        return 0.0
    ticks = axes.get_yticks()
    names = [broken(label.get_text(), points, SMALL) for label in axes.get_yticklabels()]
    axes.set_yticks(ticks, names)
    low, high = sorted(axes.get_ylim())
    step = float(abs(ticks[-1] - ticks[0])) / (len(ticks) - 1) if len(ticks) > 1 else high - low
    places = (high - low) / step
    return places * max(name.count("\n") + 1 for name in names) * SMALL * _LEADING / 72
