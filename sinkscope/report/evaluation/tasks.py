"""Tasks of lm-evaluation-harness: shares as bars, everything else as numbers."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from sinkscope.report import style
from sinkscope.report.axes import write_sentence
from sinkscope.report.entry import Entry
from sinkscope.report.evaluation.sentences import ends_of, interval
from sinkscope.report.page import RIGHT, Page, paragraph, table
from sinkscope.report.text import literal, number, printable
from sinkscope.tables.run_folder import Run

SHARES = ("acc", "acc_norm", "exact_match", "f1", "em", "mcc")
_MOST = 24  # bars, and rows beside them
_FEWEST = 8  # places for bars, so that a single one does not fill the page
_TABLE_LEFT = 0.63


def draw(run: Run) -> Page:
    """Bars of accuracies and other shares on the left, other metrics in a table on the right."""
    tasks = run["tasks"]
    is_share = tasks["metric"].isin(SHARES)
    others = tasks[~is_share]
    page = Page(right=_TABLE_LEFT - 0.02) if len(others) else Page()
    _bars(page.subplots(), tasks[is_share])
    if len(others):
        _table(page, others)
    return page


def _bars(axes: Axes, tasks: pd.DataFrame) -> None:
    if tasks.empty:
        write_sentence(axes, "No task has an accuracy.")
        return
    rows = tasks.iloc[:_MOST]
    places = np.arange(len(rows))
    axes.barh(places, rows["value"], color=[style.BLUE if m == "acc" else style.SKY for m in rows["metric"]])
    ends = np.array([ends_of(row) for row in rows.to_dict("records")])
    reach = np.nan_to_num(np.abs(ends.T - rows["value"].to_numpy()))
    axes.errorbar(rows["value"], places, xerr=reach, fmt="none", color=style.BLACK, capsize=2)
    labels = [f"{printable(task, 24)}: {metric}" for task, metric in rows[["task", "metric"]].to_numpy()]
    axes.set_yticks(places, [literal(label) for label in labels])
    axes.set_ylim(max(len(rows), _FEWEST) - 0.5, -0.5)
    axes.set_xlim(0, 1)
    axes.grid(visible=False, axis="y")
    axes.set_xlabel("share (1: all right)")
    axes.set_title("Accuracies" if len(rows) == len(tasks) else f"Accuracies, the first {_MOST} of {len(tasks)}")


def _table(page: Page, tasks: pd.DataFrame) -> None:
    cells = [
        (printable(row["task"], 30), printable(row["metric"], 30), number(row["value"], 4), interval(*ends_of(row), 3))
        for row in tasks.iloc[:_MOST].to_dict("records")
    ]
    top = table(page, ("Task", "Metric", "Value", "95 %"), cells, top=0.895, left=_TABLE_LEFT, shares=(2, 2.2, 1.2, 2),
                size=style.SMALL)  # fmt: skip
    if len(tasks) > _MOST:
        rest = f"and {len(tasks) - _MOST} more, in the table tasks"
        paragraph(page, rest, top=top, left=_TABLE_LEFT, right=RIGHT, size=style.SMALL)


ENTRY = Entry(
    "tasks",
    "Tasks of lm-evaluation-harness",
    draw,
    "Metrics as the harness computes them, with its prompts and its defaults. Lines: 95 % intervals over its "
    "questions, Wilson's for shares of right answers, else Student's t with its standard error. acc compares the "
    "log-likelihoods of the choices, acc_norm those divided by the choices' lengths in bytes.",
    applies=lambda run: "tasks" in run.tables,
)
