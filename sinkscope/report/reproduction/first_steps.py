"""What appeared when in the trainings of the first seed."""

from typing import Any

import pandas as pd

from sinkscope.report.entry import Entry
from sinkscope.report.page import Page
from sinkscope.report.reproduction.ruled import Columns, ruled
from sinkscope.tables.run_folder import Run


def draw(run: Run) -> Page:
    """A line per phenomenon: the checkpoint that shows it first, model by model."""
    page = Page()
    rows = run["first_steps"]
    models = list(rows["model"].drop_duplicates())
    lines = []
    for phenomenon in rows["phenomenon"].drop_duplicates():
        found: Any = rows[rows["phenomenon"] == phenomenon].set_index("model").to_dict("index")
        lines.append((phenomenon, *(_step(found[model]) for model in models)))
    ruled(page, Columns(("phenomenon", *models), (0.25, *([0.25] * len(models)))), lines)
    return page


def _step(row: dict[str, Any]) -> str:
    first, lasting = row["first_step"], row["lasting_step"]
    if pd.isna(first):
        return "at no checkpoint"
    stays = ", not to stay" if pd.isna(lasting) else "" if lasting == first else f", to stay from {lasting:,.0f}"
    return f"at step {first:,.0f}{stays}"


ENTRY = Entry(
    "first_steps",
    "What appears when",
    draw,
    "Checkpoints of the first seed: the first one that shows a phenomenon, which therefore appeared between the "
    "checkpoint before and this one. Thresholds are those of docs/tracking.md. One training each: other seeds may "
    "differ.",
    applies=lambda run: bool(len(run["first_steps"])),
    words=True,
)
