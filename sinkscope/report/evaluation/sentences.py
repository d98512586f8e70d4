"""An evaluation in words and rows: one source for page 1 and the terminal."""

import math
from typing import Any

import pandas as pd

from sinkscope.intervals.of_scores import score_interval
from sinkscope.report.analysis.headline_rows import model_line as plain_model_line
from sinkscope.report.text import counted, number, printable
from sinkscope.tables.run_folder import Run

HEADER = ("Quantity", "Value", "95 % interval", "Remark")
FEW = 0.5  # share of needles below which a model is said to find few of them

_METRICS = {
    "perplexity": ("Perplexity per token", "compares models of one tokenizer"),
    "word_perplexity": ("Word perplexity", "whitespace-separated words; compares between tokenizers"),
    "byte_perplexity": ("Byte perplexity", "UTF-8"),
    "bits_per_byte": ("Bits per byte", ""),
}

Row = tuple[str, str, str, str]


def model_line(run: Run) -> str:
    """The model in a line, with its context as it was evaluated."""
    model = run.info["model"]
    extended = f" (YaRN x {model['yarn']:g})" if model.get("yarn") else ""
    context = f", context {model['context']:,}{extended}" if model.get("context") else extended
    return plain_model_line(run) + context


def data_line(run: Run) -> str:
    """The texts in a line."""
    data, parts = run.info["data"], []
    if "documents" in data:
        parts.append(
            f"{printable(data['source'], 50, keep_end=True)}: {counted(data['documents'], 'document')}, "
            f"{counted(data['tokens'], 'token')}, {counted(data['words'], 'word')}, {counted(data['bytes'], 'byte')}"
        )
    if data.get("haystack"):
        parts.append(f"haystack: {printable(data['haystack'], 50, keep_end=True)}")
    return "; ".join(parts) or "tasks of lm-evaluation-harness"


def rows(run: Run) -> list[Row]:
    """Perplexities, then needles by kind and length, then tasks."""
    return [
        *(_perplexities(run["perplexity"]) if "perplexity" in run.tables else []),
        *(_needles(run["needle_scores"]) if "needle_scores" in run.tables else []),
        *(_tasks(run["tasks"]) if "tasks" in run.tables else []),
    ]


def findings(run: Run) -> list[str]:
    """A sentence for each part of the evaluation. They say what was measured, not why."""
    sentences = []
    if "perplexity" in run.tables:
        sentences.append(_about_perplexity(run))
    if "needles" in run.tables:
        sentences.append(_about_needles(run))
    if "tasks" in run.tables:
        sentences.append(_about_tasks(run))
    return sentences


def _perplexities(perplexity: pd.DataFrame) -> list[Row]:
    known = perplexity.set_index("metric").to_dict("index")
    return [
        (name, number(known[metric]["value"], 4), interval(known[metric]["low"], known[metric]["high"]), remark)
        for metric, (name, remark) in _METRICS.items()
        if metric in known
    ]


def _needles(scores: pd.DataFrame) -> list[Row]:
    return [
        (
            f"Needles {row['variant']}, {row['length']:,} tokens",
            f"{100 * row['score']:.0f} %",
            f"{100 * row['low']:.0f} to {100 * row['high']:.0f} %",
            f"{round(row['score'] * row['needles'])} of {row['needles']} found",
        )
        for row in scores.to_dict("records")
    ]


def _tasks(tasks: pd.DataFrame) -> list[Row]:
    cells = []
    for row in tasks.to_dict("records"):
        ends = interval(*ends_of(row), 3)
        kept = "" if row["filter"] == "none" else f" ({row['filter']})"
        samples = "" if pd.isna(row["samples"]) else counted(int(row["samples"]), "sample")
        name = f"{printable(row['task'], 40)}: {printable(row['metric'], 24)}{printable(kept, 24)}"
        cells.append((name, number(row["value"], 4), ends, samples))
    return cells


def ends_of(row: dict[Any, Any]) -> tuple[float, float]:
    """The interval of a row of the table `tasks`."""
    samples = math.nan if pd.isna(row["samples"]) else float(row["samples"])
    return score_interval(row["metric"], row["value"], row["stderr"], samples)


def interval(low: float, high: float, digits: int = 4) -> str:
    """Two ends in words; a dash where there are none."""
    return "-" if math.isnan(low) or math.isnan(high) else f"{number(low, digits)} to {number(high, digits)}"


def _about_perplexity(run: Run) -> str:
    head, settings = run.info["headline"], run.info["settings"]
    spread = interval(_nan(head["perplexity_low"]), _nan(head["perplexity_high"]))
    drawn = run["perplexity"]["drawn"].iloc[0]
    within = "" if spread == "-" else f" (95 % interval {spread}, by drawing {drawn})"
    return (
        f"Perplexity is {number(head['perplexity'], 4)} per token{within}, a loss of {number(head['loss'], 4)} nats, "
        f"in windows of {counted(settings['window'], 'token')} that score {number(settings['stride'])} each."
    )


def _about_needles(run: Run) -> str:
    scores = run["needle_scores"]
    head = run.info["headline"]
    asked, hits = head["needles_asked"], head["needles_found"]
    if not hits:
        return f"None of {counted(asked, 'needle')} is found, at any context length or depth."
    overall = f"{number(hits)} of {counted(asked, 'needle')} are found ({100 * hits / asked:.0f} %)"
    ranked = scores.sort_values("score", kind="stable").to_dict("records")
    worst, best = ranked[0], ranked[-1]
    if best["score"] == worst["score"]:
        return f"{overall}, {100 * best['score']:.0f} % in every kind and length."
    lead = "Few needles: " if hits / asked < FEW else ""
    return f"{lead}{overall}: most with {_where(best)}, fewest with {_where(worst)}."


def _where(row: dict[Any, Any]) -> str:
    return f"{row['variant']} in {row['length']:,} tokens ({100 * row['score']:.0f} %)"


def _about_tasks(run: Run) -> str:
    tasks, mean = run["tasks"], run.info["headline"]["accuracy_mean"]
    count = counted(int(tasks["task"].nunique()), "task")
    limit = run.info["settings"]["limit"]
    partly = f", at most {counted(limit, 'sample')} each" if limit else ""
    if mean is None:
        return f"{count} of lm-evaluation-harness{partly}; none of them has an accuracy."
    with_accuracy = tasks.loc[tasks["metric"] == "acc", "task"].nunique()
    return (
        f"{count} of lm-evaluation-harness{partly}: accuracy {number(mean)}, mean over {with_accuracy} that have one."
    )


def _nan(value: float | None) -> float:
    return math.nan if value is None else value
