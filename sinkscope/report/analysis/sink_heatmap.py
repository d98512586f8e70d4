"""Which heads are sinks: alpha at token 0 for every head, and whatever sinks stand at other positions."""

import numpy as np
import pandas as pd
from matplotlib.colors import Normalize

from sinkscope.report import style
from sinkscope.report.analysis.chain_panels import second_title, zero_title
from sinkscope.report.analysis.sink_words import groups, zero
from sinkscope.report.axes import heatmap, write_sentence
from sinkscope.report.entry import Entry
from sinkscope.report.page import RIGHT, Page, paragraph, table
from sinkscope.report.text import fitted, literal, number, quoted
from sinkscope.tables.run_folder import Run

_LISTED = 24
_TITLE = 470.0  # points that a title may take
_TABLE_LEFT = 0.70


def draw(run: Run) -> Page:
    """Heatmaps layers x heads of alpha_0, and of the share of sequences with a sink elsewhere; a token table."""
    page = Page(right=_TABLE_LEFT - 0.02)
    layers, heads = run.info["model"]["layers"], run.info["model"]["heads"]
    others = run["sinks"][run["sinks"]["position"] > 0]
    upper, lower = page.subplots(2, 1)
    first = run["heads"][run["heads"]["position"] == 0]
    heatmap(
        upper, _grid(first, first["alpha"], layers, heads), "alpha at token 0", norm=Normalize(0, 1), rows="query head"
    )
    upper.set_title(_fitted(zero_title(run)))
    if len(others):
        share = others.groupby(["layer", "head"])["sequence"].nunique().rename("share").reset_index()
        matrix = _grid(share, share["share"] / run.info["data"]["sequences"], layers, heads, missing=0.0)
        heatmap(lower, matrix, "sequences with a later sink", norm=Normalize(0, 1), colours=style.SECOND_SEQUENTIAL,
                rows="query head")  # fmt: skip
        lower.set_title(_fitted(second_title(run)))
    else:
        write_sentence(lower, "No head of any layer and sequence has a sink at a position other than 0.")
    _tokens(page, run)
    return page


def _fitted(title: str) -> str:
    return literal(fitted(title, _TITLE, style.HEADING))


def _grid(
    rows: pd.DataFrame, values: "pd.Series[float]", layers: int, heads: int, missing: float = np.nan
) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """Values by [head, layer]."""
    grid = np.full((heads, layers), missing)
    grid[rows["head"], rows["layer"]] = values
    return grid


def _tokens(page: Page, run: Run) -> None:
    """The tokens that are sinks, position 0 first, then later ones by their number of sinks."""
    known = groups(run)
    if not known:
        paragraph(page, "There is no sink at any position, so there is no token to list.", top=0.88,
                  left=_TABLE_LEFT, size=style.BODY)  # fmt: skip
        return
    sequences = number(run.info["data"]["sequences"])
    cells = [
        (f"0: {zero(group)}" if group.at_zero else quoted(group.token, 16), f"{number(group.sequences)} of {sequences}",
         f"{100 * group.share:.2g} %", number(group.sinks))
        for group in known[:_LISTED]
    ]  # fmt: skip
    top = table(page, ("Token", "In seq.", "Heads", "Sinks"), cells, top=0.895, left=_TABLE_LEFT,
                shares=(2.2, 1.5, 1, 1), size=style.SMALL)  # fmt: skip
    rest = known[_LISTED:]
    if rest:
        words = f"and {number(len(rest))} more tokens with {number(sum(group.sinks for group in rest))} sinks"
        paragraph(page, words, top=top, left=_TABLE_LEFT, right=RIGHT, size=style.SMALL)


ENTRY = Entry(
    "sink_heatmap",
    "Attention sinks by layer and head",
    draw,
    "alpha_s is the mean attention that queries s to s + T_eps - 1 give to token s, equation (1); the self term t = s "
    "counts. Above: its mean over sequences at token 0. A head has a sink where alpha_s exceeds epsilon (0.3 unless "
    "set otherwise) in a sequence. Below: the share of sequences in which a head has one at any later position. The "
    "table counts by token, at position 0 and at later ones: sequences where it is a sink, the share of all heads "
    "that then have one there, and all its sinks.",
)
