"""The axis of training steps, and which checkpoints stand for all where there is no room for each."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

DECADES = 30.0  # the last step over the first positive one from which steps are drawn on a logarithmic axis
_TICKS = 8
LABEL = "training step"


def step_text(step: float) -> str:
    """A step in a few letters: 500, 1.5k, 20k, 3M."""
    for size, letter in ((1e6, "M"), (1e3, "k")):
        if abs(step) >= 10 * size or (abs(step) >= size and step % (size / 10) == 0):
            return f"{step / size:g}{letter}" if step % (size / 10) == 0 else f"{step / size:.3g}{letter}"
    return f"{step:g}"


def step_axis(axes: Axes, steps: Sequence[int]) -> None:
    """A horizontal axis of steps, logarithmic (linear up to the first step after 0) where they span decades."""
    axes.set_xlabel(LABEL)
    positive = [step for step in steps if step > 0]
    axes.xaxis.set_minor_locator(NullLocator())
    if not positive or positive[-1] < DECADES * positive[0]:
        axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
    else:
        axes.set_xscale("symlog", linthresh=positive[0], linscale=0.5)
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_locator(FixedLocator(_log_ticks(positive[0], positive[-1], zero=steps[0] == 0)))
        margin = (positive[-1] / positive[0]) ** 0.02
        axes.set_xlim(-0.1 * positive[0] if steps[0] == 0 else positive[0] / margin, positive[-1] * margin)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: step_text(value)))


def checkpoint_axis(axes: Axes, steps: Sequence[int], most: int = 12) -> None:
    """A horizontal axis with one place per checkpoint, labelled by step."""
    places = [int(place) for place in chosen(range(len(steps)), most)]
    axes.set_xticks(places, [step_text(steps[place]) for place in places])
    axes.set_xlabel("checkpoint, by training step")


def chosen(items: Sequence[int], most: int) -> list[int]:
    """At most `most` of the items, evenly spaced, the first and the last among them."""
    if len(items) <= most:
        return list(items)
    return [items[round(place)] for place in np.linspace(0, len(items) - 1, most)]


def _log_ticks(low: float, high: float, *, zero: bool) -> list[float]:
    for factors in ((1, 2, 5), (1, 3), (1,)):
        decades = 10.0 ** np.arange(np.floor(np.log10(low)), np.ceil(np.log10(high)) + 1)
        ticks = [float(tick) for tick in np.multiply.outer(decades, factors).ravel() if low <= tick <= high]
        if len(ticks) <= _TICKS:
            break
    return [0.0, *ticks] if zero else ticks
