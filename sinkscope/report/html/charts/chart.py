"""What a chart is: traces and axes as plotly.js takes them, with its heading and a word on how to read it.

Plotly reads a little markup in the texts that it shows, so a name or token goes through `shown`, which makes it text.
"""

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from sinkscope.report.html.markup import visible

DIGITS = 4  # significant ones; the tables below have more
Trace = Mapping[str, Any]


@dataclass(frozen=True)
class Chart:
    """A chart.

    Attributes:
        title: its heading, as text.
        words: what the pointer shows, as text.
        views: traces by the name under which a reader chooses them; a single one needs no choice.
        layout: plotly's layout, without sizes and colours, which are the page's.
        height: in pixels.
        choice: what is chosen between, where there are several views.
    """

    title: str
    words: str
    views: Mapping[str, Sequence[Trace]]
    layout: Mapping[str, Any] = field(default_factory=dict)
    height: int = 420
    choice: str = ""


def shown(token: object) -> str:
    """A token in a text of plotly's: its blanks visible, its markup text."""
    return html.escape(visible(token), quote=False)


def rounded(values: Any) -> Any:
    """Numbers as nested lists, to a few significant digits; null where there is none."""
    array = np.asarray(values, dtype=float)
    if array.ndim > 1:
        return [rounded(row) for row in array]
    return [float(f"{value:.{DIGITS}g}") if np.isfinite(value) else None for value in array.tolist()]


def axis(title: str, **settings: Any) -> dict[str, Any]:
    """An axis with its title."""
    return {"title": {"text": title}, **settings}


def counted_axis(title: str, count: int) -> dict[str, Any]:
    """An axis of things counted from 0."""
    return axis(title, range=[-0.5, count - 0.5], tickformat="d", zeroline=False)
