"""The whole chain on one axis of layers: sinks, the norm of token 0, its gradient, the largest entries, its values."""

from collections.abc import Iterable

from matplotlib.lines import Line2D

from sinkscope.report import style
from sinkscope.report.analysis.chain_panels import LOOKS, links, shade
from sinkscope.report.analysis.depth_words import phases_of, shared_channel
from sinkscope.report.analysis.massive_words import channel_words, facts, largest_entry
from sinkscope.report.analysis.sink_words import groups, second, zero
from sinkscope.report.axes import layer_axis
from sinkscope.report.entry import Entry
from sinkscope.report.page import RIGHT, Page, paragraph, table, write
from sinkscope.report.text import about, number, quoted
from sinkscope.tables.run_folder import Run

_COLUMN = 0.72  # left end of the texts beside the panels
_LISTED, _GAP = 6, 0.035


def draw(run: Run) -> Page:
    """A panel per link, phases shaded; beside them the tokens and the phases by name."""
    page = Page(right=_COLUMN - 0.02)
    panels, known = links(run), phases_of(run)
    drawn = page.subplots(len(panels), 1, squeeze=False, sharex=True)[:, 0]
    for axes, panel in zip(drawn, panels, strict=True):
        panel(axes, run)
        if axes.axison:
            shade(axes, known)
    layer_axis(drawn[-1], run.info["model"]["layers"])
    page.align_ylabels(drawn)
    shown = {line.get_label() for axes in drawn for line in axes.lines}
    page.key([Line2D([], [], color=colour, linestyle=line, label=name)
              for name, (colour, line) in LOOKS.items() if name in shown])  # fmt: skip
    top = _tokens(page, run, 0.88) - _GAP
    top = _massive(page, run, top) - _GAP
    _phases(page, run, top)
    return page


def _tokens(page: Page, run: Run, top: float) -> float:
    """The sink tokens: at position 0, and the second sinks."""
    write(page, _COLUMN, top - 0.014, "Sink tokens", size=style.HEADING, weight="bold")
    top -= 0.02
    rows, sequences = second(run), run.info["data"]["sequences"]
    if rows.empty and not any(group.at_zero for group in groups(run)):
        return paragraph(page, "No token is a sink of more than single heads.", top=top, left=_COLUMN, size=style.SMALL)
    cells = [
        (f"0: {zero(group)}", f"{number(group.sequences)} of {number(sequences)}", _short(group.layers))
        for group in groups(run)
        if group.at_zero
    ]
    counts = rows.drop_duplicates("sequence")["token"].value_counts()
    for token in counts.index[:_LISTED]:
        layers = rows.loc[rows["token"] == token, "layer"].tolist()
        cells.append((f"later {quoted(token, 12)}", f"{number(int(counts[token]))} of {number(sequences)}",
                      _short(layers)))  # fmt: skip
    return table(page, ("Token", "Seq.", "Layers"), cells, top=top, left=_COLUMN, right=RIGHT,
                 shares=(1.3, 0.95, 1.9), size=style.SMALL)  # fmt: skip


def _massive(page: Page, run: Run, top: float) -> float:
    """The channels of the largest entries: massive ones, and what second sinks carry."""
    write(page, _COLUMN, top - 0.014, "Largest entries", size=style.HEADING, weight="bold")
    known, carried, cells = facts(run), shared_channel(run), []
    for fact in known[:_LISTED]:
        names = channel_words(fact.channels).removeprefix("channels ").removeprefix("channel ")
        where = "token 0" if fact.at_zero else f"{number(fact.places)} later"
        cells.append((names, where, number(round(fact.largest)), _short(fact.layers)))
    if carried is not None:
        cells.append((str(carried.channel), "second", number(round(carried.largest)), _short(carried.layers)))
    if not known:
        cells.insert(0, _largest(run))
    return table(page, ("Channel", "At", "|x|", "Layers"), cells, top=top - 0.02, left=_COLUMN, right=RIGHT,
                 shares=(1.05, 1, 0.95, 1.5), size=style.SMALL)  # fmt: skip


def _phases(page: Page, run: Run, top: float) -> float:
    write(page, _COLUMN, top - 0.014, "Norm of token 0", size=style.HEADING, weight="bold")
    cells = [
        (_short(range(phase.first, phase.last + 1)), about(phase.norm), f"{number(phase.ratio, 2)} x early")
        for phase in phases_of(run)[: 2 * _LISTED]
    ]
    if not cells:
        return paragraph(page, "It was not measured.", top=top - 0.02, left=_COLUMN, size=style.SMALL)
    return table(page, ("Layers", "Norm", "Ratio"), cells, top=top - 0.02, left=_COLUMN, right=RIGHT,
                 shares=(1, 1, 1.2), size=style.SMALL)  # fmt: skip


def _short(layers: Iterable[int]) -> str:
    """Layers as a table has them: "2 to 9, 12 to 29"."""
    ordered = sorted(set(layers))
    ends = [layer for layer in ordered if layer + 1 not in ordered]
    starts = [layer for layer in ordered if layer - 1 not in ordered]
    return ", ".join(str(a) if a == b else f"{a} to {b}" for a, b in zip(starts, ends, strict=True))


def _largest(run: Run) -> tuple[str, str, str, str]:
    """The largest entry of the residual stream, as a row."""
    entry = largest_entry(run)
    return str(entry["channel"]), f"token {entry['position']}", number(round(entry["size"])), str(entry["layer"])


ENTRY = Entry(
    "chain",
    "The chain at a glance",
    draw,
    "Share of a layer's heads with a sink (1); norm leaving the layer (3); gradient norm at token 0 over the mean of "
    "positions 1 to 31 (6); largest entries of the residual stream, where they are among the 8 of a sequence (5); norm "
    "of values over positions 1 to 15 (4). Shaded: token 0 has at least twice the early norm, deeper from 20 times on; "
    "a phase ends where that ratio doubles or halves. Second sink: the later token of a sequence with sinks in 5 % of "
    "all heads.",
)
