"""The links of the chain by layer, each a panel: attention, norm, gradient, largest entries, values.

A panel draws tables onto the axes it is given, and its title says what they show. `shade` marks the phases of the norm
of token 0 behind any of them, so that what happens in the same layers is seen to.
"""

from collections.abc import Callable
from typing import Literal

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from sinkscope.quantities.curves import value_drain
from sinkscope.quantities.measured import zero_and_neighbours
from sinkscope.quantities.phases import Phase
from sinkscope.quantities.rows import large
from sinkscope.report import style
from sinkscope.report.analysis.depth_words import phases_of, second_entries, shared_channel
from sinkscope.report.analysis.massive_words import channel_words, facts, largest_entry
from sinkscope.report.analysis.sink_words import groups, second
from sinkscope.report.axes import layer_axis, log_axis, marker, write_sentence
from sinkscope.report.text import about, fitted, layer_words, listed, literal, number, quoted
from sinkscope.tables.applicability import reason
from sinkscope.tables.headline import measured
from sinkscope.tables.run_folder import Run

SECOND, EARLY = style.GREEN, "early tokens (positions 1 to 15)"
LOOKS: dict[str, tuple[str, Literal["-", "--", ":"]]] = {
    "token 0": (style.TOKEN_ZERO, "-"),
    "second sinks": (SECOND, "--"),
    EARLY: (style.EARLY_MEAN, "-"),
    "other tokens": (style.SKY, ":"),
}
"""What a colour and a line mean in all panels."""
_TITLE = 500  # points that a title may take


def shade(axes: Axes, known: list[Phase]) -> None:
    """Marks the phases in which token 0 stands out, the deeper the more it does."""
    for phase in known:
        if phase.large:
            depth = 0.12 if phase.ratio < 20 else 0.26
            axes.axvspan(phase.first - 0.5, phase.last + 0.5, color=style.ORANGE, alpha=depth, linewidth=0, zorder=0)


def sink_rate(axes: Axes, run: Run) -> None:
    """Share of heads with a sink at token 0, and at the second sinks."""
    layers = run.info["model"]["layers"]
    rate = run["layers"].set_index("layer")["sink_rate"]
    _curve(axes, rate, "token 0")
    rows = second(run)
    if len(rows):
        heads = run.info["model"]["heads"] * rows["sequence"].nunique()
        share = (rows.groupby("layer").size() / heads).reindex(range(layers), fill_value=0.0)
        _curve(axes, share, "second sinks")
    axes.set_ylim(-0.04, 1.04)
    axes.set_ylabel("share of\nheads")
    _finish(axes, layers, sink_title(run))


def token_norm(axes: Axes, run: Run) -> None:
    """Norm of token 0 leaving each layer against that of the early tokens."""
    layers, norms = run.info["model"]["layers"], zero_and_neighbours(run["positions"], "h_out")
    known = phases_of(run)
    if not (norms > 0).any(axis=None):
        write_sentence(axes, "No norm of the residual stream was measured.")
        return
    for column, name in (("t0", "token 0"), ("early", EARLY)):
        _curve(axes, norms[column].where(norms[column] > 0), name)
    log_axis(axes)
    _name_phases(axes, known, norms)
    axes.set_ylabel("|h_out|\n(model units)")
    _finish(axes, layers, _norm_title(known))


def gradient_ratio(axes: Axes, run: Run) -> None:
    """The gradient-sink ratio, equation (6)."""
    layers, ratio = run.info["model"]["layers"], run["layers"]["gradient_sink_ratio"]
    middle = run.info["headline"]["gradient_sink_median"]
    if middle is None or not (ratio > 0).any():
        write_sentence(axes, "The gradient-sink ratio is not defined in any layer.")
        return
    _curve(axes, ratio.set_axis(run["layers"]["layer"]).where(lambda values: values > 0), "token 0")
    axes.axhline(1, color=style.EARLY_MEAN, linewidth=1.2)
    log_axis(axes)
    axes.set_ylabel("R_GS(0)")
    _finish(axes, layers, gradient_title(run))


def largest_entries(axes: Axes, run: Run) -> None:
    """Largest |x| of the residual stream at token 0, at second sinks and at all other tokens."""
    layers = run.info["model"]["layers"]
    entries = run["massive"][run["massive"]["site"] == "h_out"]
    entries = entries.assign(size=entries["value"].abs())
    at_second = second_entries(run)
    keys = ["layer", "sequence", "position", "channel"]
    elsewhere = entries[entries["position"] > 0].merge(at_second[keys], on=keys, how="left", indicator="where")
    shown = (
        (elsewhere[elsewhere["where"] == "left_only"], "other tokens"),
        (entries[entries["position"] == 0], "token 0"),
        (at_second, "second sinks"),
    )
    for rows, name in shown:
        if len(rows):
            sizes = rows.groupby("layer")["size"].max().reindex(range(layers))
            _curve(axes, sizes.where(sizes > 0), name)
    log_axis(axes)
    axes.set_ylabel("largest |x|\n(model units)")
    _finish(axes, layers, _entries_title(run))


def drain(axes: Axes, run: Run) -> None:
    """Norm of the values of token 0 over that of the early tokens, equation (4)."""
    layers, ratio = run.info["model"]["layers"], value_drain(measured(run))
    if not (ratio > 0).any():
        write_sentence(axes, "The ratio of value norms is not defined: there is no early token.")
        return
    _curve(axes, ratio.where(ratio > 0), "token 0")
    axes.axhline(1, color=style.EARLY_MEAN, linewidth=1.2)
    log_axis(axes)
    axes.set_ylabel("|v| over\nearly |v|")
    _finish(axes, layers, drain_title(run))


def _name_phases(axes: Axes, known: list[Phase], norms: pd.DataFrame) -> None:
    """Writes between the curves, where there is room, how many times the early norm token 0 has in a phase."""
    wide, high = len(norms), np.log(axes.get_ylim()[1] / axes.get_ylim()[0])
    for phase in known:
        if phase.large and phase.last - phase.first + 1 > wide / 12 and np.log(phase.ratio) > 0.22 * high:
            middle = (phase.first + phase.last) / 2, phase.norm / phase.ratio**0.5
            axes.annotate(f"{number(phase.ratio, 2)} x", middle, ha="center",
                          va="center", fontsize=style.BODY)  # fmt: skip


def _curve(axes: Axes, values: "pd.Series[float]", name: str) -> None:
    colour, line = LOOKS[name]
    axes.plot(values.index, values, color=colour, linestyle=line, marker=marker(len(values)), label=name)


def _finish(axes: Axes, layers: int, title: str) -> None:
    layer_axis(axes, layers, "")
    axes.set_title(fitted(literal(title), _TITLE, style.HEADING), loc="left")


def sink_title(run: Run) -> str:
    """Where token 0 is a sink, and where a second sink is."""
    rows = second(run)
    if rows.empty and not any(group.at_zero for group in groups(run)):
        return "No token is a sink of more than single heads"
    if rows.empty:
        return zero_title(run)
    return f"{zero_title(run)}, a later {_second_tokens(rows)} in {layer_words(rows['layer'].tolist())}"


def zero_title(run: Run) -> str:
    """Where token 0 is a sink."""
    first = [group for group in groups(run) if group.at_zero]
    return f"Token 0 is a sink in {layer_words(first[0].layers)}" if first else "Token 0 is no sink"


def second_title(run: Run) -> str:
    """Where second sinks are."""
    rows = second(run)
    if rows.empty:
        return "No later token is a sink of more than single heads"
    return f"A later {_second_tokens(rows)} is a sink in {layer_words(rows['layer'].tolist())}"


def _second_tokens(rows: pd.DataFrame) -> str:
    tokens = rows.drop_duplicates("sequence")["token"].value_counts().index[:2]
    return listed([quoted(token, 12) for token in tokens], "or")


def gradient_title(run: Run) -> str:
    """Whether gradients gather at token 0; the run has a gradient-sink ratio."""
    middle = run.info["headline"]["gradient_sink_median"]
    verb = "gather" if middle >= large("gradient_sink_median") else "do not gather"
    return f"Gradients {verb} at token 0: {number(middle)} times the early mean, median over layers"


def drain_title(run: Run) -> str:
    """Whether the values of token 0 are drained; the run has their ratio."""
    mean = run.info["headline"]["value_drain"]
    verb = "Values of token 0 are drained" if mean < 1 else "Values of token 0 are not drained"
    return f"{verb}: {number(mean, 2)} times the early norm, mean over layers and heads"


def _norm_title(known: list[Phase]) -> str:
    standing_out = [phase for phase in known if phase.large]
    if not standing_out:
        return "Token 0 carries what its neighbours carry"
    main = max(standing_out, key=lambda phase: phase.norm)
    layers = layer_words(range(main.first, main.last + 1))
    return f"Token 0 carries about {about(main.norm)} in {layers}, {number(main.ratio, 2)} times its neighbours"


def _entries_title(run: Run) -> str:
    known, carried = facts(run), shared_channel(run)
    if known:
        channels = channel_words(tuple(sorted({channel for fact in known for channel in fact.channels})))
        title = f"{channels[0].upper()}{channels[1:]}: massive, up to {number(round(max(f.largest for f in known)))}"
        if carried is None or not carried.massive:
            return title
        return f"{title}; second sinks carry {number(round(carried.largest))} in {carried.channel}"
    largest = largest_entry(run)
    return (
        f"No massive activation; the largest entry, {number(largest['size'])}, is in channel "
        f"{largest['channel']} at {quoted(largest['token'], 12)}"
    )


def links(run: Run) -> list[Callable[[Axes, Run], None]]:
    """The panels that apply to a run, in the order of the chain."""
    gradients = [gradient_ratio] if run.backward and reason(run, "gradient_sink_ratio") is None else []
    return [sink_rate, token_norm, *gradients, largest_entries, drain]
