"""Axes in log10 units write values beside their ticks, as logarithmic axes do."""

import unicodedata

import numpy as np
import pytest
from matplotlib.figure import Figure

from sinkscope.report.axes import decades


def written(low: float, high: float) -> list[tuple[float, str]]:
    """Ticks between two values, each with its text."""
    page = Figure()
    axes = page.subplots()
    axes.set_ylim(np.log10(low), np.log10(high))
    decades(axes, "y")
    page.draw_without_rendering()
    ticks = [(tick.get_loc(), tick.label1.get_text()) for tick in axes.yaxis.get_major_ticks()]
    return [(10**place, text) for place, text in ticks if np.log10(low) <= place <= np.log10(high)]


@pytest.mark.parametrize(("low", "high"), [(0.9, 30), (1.02, 1.31), (0.01, 0.02), (250, 900)])
def test_short_axes_write_the_values_of_their_ticks(low: float, high: float) -> None:
    ticks = written(low, high)
    assert len(ticks) >= 2
    for value, text in ticks:
        assert float(text) == pytest.approx(value, rel=1e-3)


def test_long_axes_write_powers_of_ten() -> None:
    ticks = written(1e-4, 3e5)
    assert len(ticks) >= 3
    for value, text in ticks:
        assert unicodedata.normalize("NFKC", text).replace("\N{MINUS SIGN}", "-") == f"10{round(np.log10(value))}"
        assert text.isascii() == (text == "10")
