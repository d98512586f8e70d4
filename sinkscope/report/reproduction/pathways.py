"""By which way gradients reach a token, model by model: the paper's figure of token-wise norms at q, k and v."""

import numpy as np
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from sinkscope.report import style
from sinkscope.report.axes import log_axis, positive
from sinkscope.report.entry import Entry
from sinkscope.report.page import Page
from sinkscope.tables.run_folder import Run


def draw(run: Run) -> Page:
    """A panel per model on one scale: a line per pathway, mean over seeds, with a band from smallest to largest."""
    page = Page()
    rows = run["pathways"]
    models = list(rows["model"].drop_duplicates())
    panels = page.subplots(1, len(models), sharey=True, squeeze=False)[0]
    last = int(rows["position"].max())
    for axes, model in zip(panels, models, strict=True):
        for site, colour in style.PATHWAY.items():
            own = rows[(rows["model"] == model) & (rows["site"] == site)]
            if site == "q":
                own = own[own["position"] > 0]  # zero but for rounding, which a logarithmic axis would blow up
            each = own.groupby("position")["grad_norm"]
            middle, low, high = (positive(values) for values in (each.mean(), each.min(), each.max()))
            places = np.sort(own["position"].unique())
            axes.fill_between(places, low, high, color=colour, alpha=0.15, linewidth=0)
            axes.plot(places, middle, color=colour, marker="o", markersize=3)
        axes.set_title(model)
        axes.set_xlabel("token position")
        axes.set_xlim(-0.02 * max(last, 1), 1.02 * max(last, 1))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    panels[0].set_ylabel("gradient norm, mean over layers (nats per unit)")
    log_axis(panels[0])
    page.key([Line2D([], [], color=colour, label=site) for site, colour in style.PATHWAY.items()], "gradient at")
    return page


ENTRY = Entry(
    "pathways",
    "Pathways of the gradient: queries, keys, values",
    draw,
    "Token-wise norms of the gradients at q, k and v, heads concatenated, summed over sequences before the norm, mean "
    "over layers, equation (7). Line: mean over seeds; band: smallest to largest seed. No gradient reaches the query "
    "of token 0, which has one key only; it is left out.",
    needs_backward=True,
    applies=lambda run: bool((run["pathways"]["grad_norm"] > 0).any()),
)
