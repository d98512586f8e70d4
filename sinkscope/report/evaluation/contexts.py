"""Does context help? Loss against the number of tokens that the model could read."""

import numpy as np
import pandas as pd

from sinkscope.report import style
from sinkscope.report.entry import Entry
from sinkscope.report.page import Page
from sinkscope.tables.run_folder import Run

BINS = 24


def draw(run: Run) -> Page:
    """Mean loss by length of context in bins of growing width, and how many tokens each bin holds."""
    page = Page()
    loss, count = page.subplots(2, 1, height_ratios=(3, 1), sharex=True)
    bins = binned(run["contexts"])
    loss.plot(bins["middle"], bins["loss"], color=style.BLUE, marker="o", label="mean loss")
    mean = run.info["headline"]["loss"]
    loss.axhline(mean, color=style.BLACK, linestyle="--", linewidth=1, label=f"over all tokens: {mean:.3f}")
    loss.set_ylabel("loss\n(nats per token)")
    settings = run.info["settings"]
    loss.set_title(f"Windows of {settings['window']:,} tokens, {settings['stride']:,} scored by each after the first")
    loss.legend(loc="best")
    loss.tick_params(labelbottom=True)
    count.bar(bins["first"], bins["targets"], width=bins["last"] + 1 - bins["first"], align="edge", color=style.GREY)
    count.set_ylabel("tokens\nscored")
    count.set_ylim(bottom=0)
    count.set_xscale("log", base=2)
    count.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    count.set_xlabel("context (tokens that the model read before the one it predicts)")
    return page


def binned(contexts: pd.DataFrame) -> pd.DataFrame:
    """Rows of `contexts` pooled into at most `BINS` bins of about equal ratio.

    Returns:
        Columns first, last (contexts of the bin), middle (geometric), targets, loss and deviation.
    """
    longest = int(contexts["context"].max())
    edges = np.unique(np.floor(np.geomspace(1, longest + 1, BINS + 1)).astype(int))
    which = np.searchsorted(edges, contexts["context"], side="right") - 1
    moments = contexts.assign(
        bin=which,
        sum=contexts["targets"] * contexts["loss"],
        squares=contexts["targets"] * (contexts["loss"] ** 2 + contexts["deviation"] ** 2),
    ).groupby("bin")
    total = moments[["targets", "sum", "squares"]].sum()
    mean = total["sum"] / total["targets"]
    first, last = moments["context"].min(), moments["context"].max()
    return pd.DataFrame(
        {
            "first": first,
            "last": last,
            "middle": np.sqrt(first * last),
            "targets": total["targets"],
            "loss": mean,
            "deviation": np.sqrt(np.maximum(total["squares"] / total["targets"] - mean**2, 0)),
        }
    )


ENTRY = Entry(
    "contexts",
    "Loss by length of context",
    draw,
    "Every token is scored once, behind as much context as its window shows of its document; contexts of like length "
    "are pooled. No interval is drawn: tokens of one document are not independent, and their losses are not kept "
    "apart by document here. Short contexts occur at the starts of documents alone, where text is of its own kind "
    "(titles, licence headers), so a fall of the curve mixes what context gives with where in a document a token "
    "stands.",
    applies=lambda run: "contexts" in run.tables,
)
