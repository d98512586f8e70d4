"""Headline numbers against training step, with their intervals and the thresholds of appearance."""

from dataclasses import dataclass

from matplotlib.axes import Axes

from sinkscope.quantities.rows import quantity
from sinkscope.report import style
from sinkscope.report.axes import log_axis, positive, write_sentence
from sinkscope.report.entry import Entry
from sinkscope.report.page import Page
from sinkscope.report.tracking.sentences import series, steps_of
from sinkscope.report.tracking.steps import step_axis
from sinkscope.tables.run_folder import Run


@dataclass(frozen=True)
class Panel:
    """One panel.

    Attributes:
        title: its heading.
        label: of its axis.
        curves: quantity, words that tell it apart within the panel (empty: its short name), colour.
        log: whether its axis is logarithmic.
    """

    title: str
    label: str
    curves: tuple[tuple[str, str, str], ...]
    log: bool = True


PANELS = (
    Panel("Loss", "nats per token", (("loss", "", style.BLACK),), log=False),
    Panel(
        "Attention sink",
        "share, or attention",
        (
            ("alpha_max", "", style.VERMILION),
            ("sink_rate_max", "", style.SKY),
            ("sink_rate_mean", "", style.BLUE),
        ),
        log=False,
    ),
    Panel(
        "Gradient sink",
        "R_GS(0)",
        (
            ("gradient_sink_q75", "upper quartile", style.SKY),
            ("gradient_sink_median", "median over layers", style.BLUE),
            ("gradient_sink_q25", "lower quartile", style.SKY),
        ),
    ),
    Panel(
        "Norms: token 0 over early",
        "ratio",
        (
            ("residual_t0_over_early", "residual", style.BLUE),
            ("mlp_t0_over_early", "MLP output", style.ORANGE),
            ("attn_t0_over_early", "attention output", style.GREEN),
            ("value_drain", "value", style.PURPLE),
        ),
    ),
    Panel(
        "Largest entry of the residual stream",
        "|x|, or ratio",
        (("abs_max", "", style.VERMILION), ("abs_over_median_max", "", style.BLUE)),
    ),
    Panel(
        "Pathways: share at token 0",
        "share of the norms",
        tuple((f"gradient_share_{site}", site, colour) for site, colour in style.PATHWAY.items()),
        log=False,
    ),
)


def draw(run: Run) -> Page:
    """Six panels of curves over steps."""
    page = Page()
    for axes, panel in zip(page.subplots(2, 3).flat, PANELS, strict=True):
        _panel(axes, panel, run)
    return page


def _panel(axes: Axes, panel: Panel, run: Run) -> None:
    known = [(series(run, metric), label or quantity(metric).short, colour) for metric, label, colour in panel.curves]
    known = [curve for curve in known if len(curve[0])]
    if not known:
        write_sentence(axes, f"{panel.title}: not measured.", 180)
        return
    prepared = positive if panel.log else lambda values: values
    steps = steps_of(run)
    for values, label, colour in known:
        axes.fill_between(
            values.index, prepared(values["low"]), prepared(values["high"]), color=colour, alpha=0.2, linewidth=0
        )
        axes.plot(
            values.index, prepared(values["value"]), color=colour, marker="o" if len(steps) <= 40 else "", label=label
        )
    axes.set_title(panel.title)
    axes.set_ylabel(panel.label)
    if panel.log:
        log_axis(axes)
    step_axis(axes, steps)
    thresholds = run["appearances"].set_index("metric")["threshold"]
    for metric, _, _ in panel.curves:
        if metric in thresholds:
            axes.axhline(float(thresholds[metric]), color=style.GREY, linestyle=":", linewidth=1.2)
    if len(known) > 1:
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.22), ncols=2)  # below, where no curve can be


ENTRY = Entry(
    "evolution",
    "Headline numbers along training",
    draw,
    "Bands: 95 % bootstrap intervals over sequences (gradients: over blocks of sequences); all checkpoints read the "
    "same windows. Dotted: thresholds of appearance (page 1). Means are over layers; early: positions 1 to 15. The "
    "axis of steps is logarithmic where they span decades.",
)
