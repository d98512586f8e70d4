"""What a track shows, in sentences and table cells. They say when things appeared, never what made them appear."""

from typing import Any

import pandas as pd

from sinkscope.quantities.rows import quantity
from sinkscope.report.text import counted, number, printable
from sinkscope.report.tracking.steps import chosen
from sinkscope.tables.run_folder import Run

_STEPS = 5  # checkpoints in the table of numbers
_NEVER = "not seen"

# The quantities whose progress page 1 lists, in its order.
PROGRESS = (
    "loss",
    "sink_rate_mean",
    "alpha_max",
    "gradient_sink_median",
    "residual_t0_over_early",
    "abs_max",
    "abs_over_median_max",
    "massive_count",
    "value_drain",
    "theta_mean",
)


def steps_of(run: Run) -> list[int]:
    """The measured steps, ascending."""
    return [int(checkpoint["step"]) for checkpoint in run.info["checkpoints"]]


def series(run: Run, metric: str) -> pd.DataFrame:
    """Value, low and high of a metric by step; empty where it was never measured."""
    rows = run["track"][run["track"]["metric"] == metric].set_index("step")[["value", "low", "high"]].sort_index()
    return rows if rows["value"].notna().any() else rows.iloc[:0]


def sentences(run: Run) -> list[str]:
    """The findings: what was tracked, in which order phenomena appeared, how far the numbers went."""
    return [_tracked(run), *_same_weights(run), _order(run), *_unsteady(run), *_failed(run)]


def between(row: Any) -> str:
    """The interval in which a phenomenon appeared."""
    if pd.isna(row.first_step):
        return _NEVER
    if pd.isna(row.previous_step):
        return f"present from the first checkpoint, step {number(int(row.first_step))}"
    return f"after step {number(int(row.previous_step))}, by step {number(int(row.first_step))}"


def appearance_cells(run: Run) -> list[tuple[str, ...]]:
    """The rows of the table of appearances: phenomenon, criterion, when, lasting from, order."""
    cells: list[tuple[str, ...]] = []
    ranks = run["appearances"]["rank"]
    for row in _rows(run["appearances"]):
        threshold = quantity(row.metric).threshold
        sign = ">" if threshold is not None and threshold.exceeds else ">="
        lasting = "-" if pd.isna(row.lasting_step) else f"step {number(int(row.lasting_step))}"
        unordered = pd.isna(row.rank) or pd.isna(row.previous_step)
        tied = not unordered and int((ranks == row.rank).sum()) > 1
        order = "-" if unordered else f"{int(row.rank)}{' (undecided)' if tied else ''}"
        cells.append((row.phenomenon, f"{row.metric} {sign} {row.threshold:g}", between(row), lasting, order))
    return cells


def progress_cells(run: Run) -> tuple[list[str], list[tuple[str, ...]]]:
    """Header and rows of a table of numbers at a few checkpoints, first and last among them."""
    steps = chosen(steps_of(run), _STEPS)
    rows = []
    for metric in PROGRESS:
        values = series(run, metric)["value"]
        if len(values):
            at_steps = (float(values.get(step, float("nan"))) for step in steps)  # some checkpoints may lack V-scale
            rows.append((quantity(metric).title, *(number(_whole(metric, value)) for value in at_steps)))
    return ["", *(f"step {number(step)}" for step in steps)], rows


def _whole(metric: str, value: float) -> float | int:
    return int(value) if metric == "massive_count" and value == value else value


def _tracked(run: Run) -> str:
    steps = steps_of(run)
    loss = series(run, "loss")["value"]
    went = f"; the loss on this text went from {number(float(loss.iloc[0]))} to {number(float(loss.iloc[-1]))} nats"
    return f"{counted(len(steps), 'checkpoint')}, from step {number(steps[0])} to step {number(steps[-1])}" + (
        f"{went}." if len(loss) > 1 else "."
    )


def _same_weights(run: Run) -> list[str]:
    """Which checkpoints are one and the same: a training that did not move between them, or a copy under two names."""
    steps: dict[str, list[int]] = {}
    for checkpoint in run.info["checkpoints"]:
        whole = checkpoint.get("sha256") or checkpoint.get("weights_sha256")
        if whole:
            steps.setdefault(whole, []).append(int(checkpoint["step"]))
    twice = [[number(step) for step in group] for group in steps.values() if len(group) > 1]
    return [f"The checkpoints of steps {_listed(group)} have the same weights: nothing changed between them."
            for group in twice]  # fmt: skip


def _order(run: Run) -> str:
    if len(steps_of(run)) > 1 and all("same_as" in checkpoint for checkpoint in run.info["checkpoints"][1:]):
        return "It is one checkpoint several times over, so nothing was seen to appear and there is no order."
    table = run["appearances"]
    there = ~table["first_step"].isna()
    never = table.loc[~there, "phenomenon"].tolist()
    from_start = table.loc[there & table["previous_step"].isna(), "phenomenon"].tolist()
    seen = table[there & ~table["previous_step"].isna()].sort_values("first_step", kind="stable")
    missing = f" No checkpoint shows {_listed(never, 'or')}." if never else ""
    if from_start:
        missing = f" Present from the first checkpoint, so without an order: {_listed(from_start)}.{missing}"
    if seen.empty:
        return f"Nothing that is looked for was seen to appear.{missing}"
    groups = [
        (_listed(group["phenomenon"].tolist()), between(_rows(group)[0]), len(group))
        for _, group in seen.groupby("first_step")
    ]
    order = "; then ".join(
        f"{names} ({when}{', order among them undecided' if several > 1 else ''})" for names, when, several in groups
    )
    return f"Order of appearance: {order}.{missing}"


def _unsteady(run: Run) -> list[str]:
    rows = run["appearances"].dropna(subset=["first_step"])
    gone = rows[rows["lasting_step"].isna()]["phenomenon"].tolist()
    later = rows[rows["lasting_step"] > rows["first_step"]]
    parts = [
        f"{row.phenomenon} came and went before it stayed, from step {number(int(row.lasting_step))}"
        for row in _rows(later)
    ]
    if gone:
        parts.append(f"the last checkpoint no longer shows {_listed(gone, 'or')}")
    return [_sentence("; ".join(parts))] if parts else []


def _failed(run: Run) -> list[str]:
    failed = run.info["failed"]
    if not failed:
        return []
    named = "; ".join(f"{printable(entry['name'], 40)}: {printable(entry['reason'], 110)}" for entry in failed[:3])
    more = f"; and {len(failed) - 3} more, in run.json" if len(failed) > 3 else ""
    return [f"Not measured and left out, {counted(len(failed), 'checkpoint')}: {named}{more}."]


def _rows(frame: pd.DataFrame) -> list[Any]:
    return list(frame.itertuples())


def _listed(names: list[str], last: str = "and") -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} {last} {names[-1]}"


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:] + "."
