"""What axes of different pages have in common: layer axes that thin out, logarithmic axes that always carry numbers."""

from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, Normalize
from matplotlib.image import AxesImage
from matplotlib.ticker import (
    FixedLocator,
    Formatter,
    FuncFormatter,
    Locator,
    LogLocator,
    MaxNLocator,
    NullLocator,
)

from sinkscope.report import style
from sinkscope.report.text import literal, wrapped

_FEWEST_TICKS = 3
_RAISED = str.maketrans("-0123456789", "\u207b\u2070\u00b9\u00b2\u00b3\u2074\u2075\u2076\u2077\u2078\u2079")
FEW_LAYERS = 40  # with more, markers on every layer would merge into a band


def count_axis(axes: Axes, count: int, label: str, which: str = "x", bins: int = 10) -> None:
    """An axis of things counted from 0 (layers, heads, positions), with at most about `bins` whole-numbered ticks."""
    axis = axes.xaxis if which == "x" else axes.yaxis
    limits = (-0.5, count - 0.5)
    if which == "x":
        axes.set_xlim(limits)
    else:
        axes.set_ylim(limits)
    several = MaxNLocator(nbins=bins, integer=True, steps=[1, 2, 5, 10])
    axis.set_major_locator(several if count > 1 else FixedLocator([0]))
    axis.set_label_text(label)


def layer_axis(axes: Axes, layers: int, label: str = "layer", bins: int = 10) -> None:
    """The horizontal axis of everything that is drawn layer by layer."""
    count_axis(axes, layers, label, bins=bins)


def marker(layers: int) -> str:
    """A marker for curves over layers; none where they would merge."""
    return "o" if layers <= FEW_LAYERS else ""


def log_axis(axes: Axes) -> None:
    """A logarithmic vertical axis that spans at least one decade.

    Call it after drawing: it keeps the limits that what is there asks for.
    """
    axes.set_yscale("log", nonpositive="mask")
    low, high = np.log10(axes.get_ylim())
    if high - low < 1:
        low, high = (low + high) / 2 - 0.5, (low + high) / 2 + 0.5
    axes.set_ylim(10**low, 10**high)
    locator, formatter = log_ticks(10**low, 10**high)
    axes.yaxis.set_major_locator(locator)
    axes.yaxis.set_major_formatter(formatter)
    axes.yaxis.set_minor_locator(NullLocator())


def spread_axis(axes: Axes, decades: float = 1.0) -> None:
    """A vertical axis that follows what is drawn: straight, or logarithmic where it spans more than `decades`."""
    low, high = axes.get_ylim()
    if low > 0 and np.log10(high / low) > decades:
        log_axis(axes)
    else:
        axes.yaxis.set_major_locator(MaxNLocator(6))


def log_ticks(low: float, high: float) -> tuple[Locator, Formatter]:
    """Ticks of a logarithmic axis: at 1, 2 and 5 over at most two decades, else at powers of ten."""
    if np.log10(high / low) > 2:
        return LogLocator(numticks=6), FuncFormatter(lambda value, _: power_of_ten(np.log10(value)))
    decades = 10.0 ** np.arange(np.floor(np.log10(low)), np.ceil(np.log10(high)) + 1)
    ticks = np.multiply.outer(decades, (1, 2, 5)).ravel()
    return FixedLocator(ticks[(ticks >= low) & (ticks <= high)].tolist()), FuncFormatter(lambda value, _: f"{value:g}")


def power_of_ten(power: float) -> str:
    """10 to a whole power in raised letters of the font itself, which are much quicker to set than mathematics."""
    return "10" + str(round(power)).translate(_RAISED)


def decades(axes: Axes, which: str = "xy") -> None:
    """Writes the values beside axes that are drawn in log10 units, as `log_axis` does: every page has one convention.

    Call it after drawing. Where 1, 2 and 5 make too few ticks, they are evenly spaced values.
    """
    for name in which:
        axis = axes.xaxis if name == "x" else axes.yaxis
        low, high = sorted(axis.get_view_interval())
        if high - low > 2:
            axis.set_major_locator(MaxNLocator(6, integer=True))
            axis.set_major_formatter(FuncFormatter(lambda power, _: power_of_ten(power)))
            continue
        stepped = np.multiply.outer(10.0 ** np.arange(np.floor(low), np.ceil(high) + 1), (1, 2, 5)).ravel()
        values = _seen(stepped, low, high)
        if len(values) < _FEWEST_TICKS:
            bins = 5 if name == "y" else 2  # side by side there is less room
            values = _seen(np.asarray(MaxNLocator(bins).tick_values(10**low, 10**high)), low, high)
        axis.set_major_locator(FixedLocator(np.log10(values).tolist()))
        axis.set_major_formatter(FuncFormatter(lambda power, _: f"{10**power:.3g}"))


def _seen(values: Any, low: float, high: float) -> Any:
    """The values between two powers of ten."""
    return values[(values > 0) & (values >= 10**low) & (values <= 10**high)]


def positive(values: Any) -> Any:
    """The values as float64 with anything that a logarithm cannot take replaced by NaN."""
    array = np.asarray(values, dtype=float)
    return np.where(array > 0, array, np.nan)


def write_sentence(axes: Axes, sentence: str, points: float = 300.0) -> None:
    """Puts a sentence where there is nothing to draw, no wider than `points`."""
    axes.set_axis_off()
    text = "\n".join(wrapped(sentence, points, style.BODY))
    axes.text(0.5, 0.5, literal(text), ha="center", va="center", fontsize=style.BODY, transform=axes.transAxes)


def heatmap(
    axes: Axes, matrix: Any, label: str, *, norm: Normalize, colours: str = style.SEQUENTIAL, rows: str = "head"
) -> AxesImage:
    """A picture of a quantity per layer (to the right) and head (upwards), with a colour bar.

    Args:
        axes: where.
        matrix: [rows, layers], NaN where there is no value.
        label: the quantity, with its unit.
        norm: range of the colours.
        colours: name of the colour map.
        rows: what the rows are.
    """
    image = axes.imshow(matrix, cmap=colour_map(colours), norm=norm, aspect="auto", origin="lower")
    axes.grid(visible=False)
    layer_axis(axes, matrix.shape[1])
    count_axis(axes, matrix.shape[0], rows, "y")
    colour_bar(image, axes, label, pad=0.02, aspect=30)
    return image


def colour_bar(image: AxesImage, axes: Any, label: str, **place: Any) -> None:
    """A colour bar of one panel or of several, with readable ticks where its scale is logarithmic."""
    if isinstance(image.norm, LogNorm):
        place["ticks"], place["format"] = log_ticks(*image.get_clim())
    bar = image.figure.colorbar(image, ax=axes, label=label, **place)
    bar.minorticks_off()


def colour_map(name: str) -> Any:
    """A colour map in which missing values are pale grey."""
    return matplotlib.colormaps[name].with_extremes(bad=style.ABSENT)
