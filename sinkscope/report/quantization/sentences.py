"""What a quantization run shows, in words and cells: one source for the first page and the terminal."""

import math
from typing import Any, cast

import numpy as np
import pandas as pd

from sinkscope.report.text import counted, number, printable
from sinkscope.tables.run_folder import Run
from sinkscope.tables.unmitigated import unmitigated

_HEADER = ("Model", "Method", "W bits", "A bits", "Perplexity", "Delta", "95 % interval", "Scales")
NONE = "none"
COMPARABLE = "All models read the same windows of tokens, so their perplexities compare."
NOT_COMPARABLE = (
    "The models' tokenizers cut the text differently: perplexities per token do NOT compare between these models. "
    "Compare each model with its own unquantized row."
)


def subtitle(run: Run) -> str:
    """What the run is about, in one line."""
    of = models(run)
    names = ", ".join(short(model) if len(of) > 1 else printable(model, 60, keep_end=True) for model in of)
    return f"{names} on {printable(run.info['data']['source'], 40, keep_end=True)}"


def models(run: Run) -> list[str]:
    """The models of a run, in order."""
    return list(dict.fromkeys(plain_rows(run)["model"]))


def methods(run: Run) -> list[str]:
    """The methods of a run, in order."""
    return list(dict.fromkeys(plain_rows(run)["method"]))


def short(model: str) -> str:
    """A model's name where there is little room."""
    return printable(model, 26, keep_end=True)


def plain_rows(run: Run) -> pd.DataFrame:
    """The rows of the table `quantization` without a mitigation, one per model and method."""
    return unmitigated(run["quantization"])


def _pairs(run: Run) -> pd.DataFrame:
    return unmitigated(run["paired"])


def header(run: Run) -> tuple[str, ...]:
    """The titles of the table's columns; a run of one model needs none that repeats its name."""
    return _HEADER if len(models(run)) > 1 else _HEADER[1:]


def apart(run: Run, model: str) -> str:
    """What tells a model from the others of its run, where there is little room: nothing where it is the only one."""
    return short(model) if len(models(run)) > 1 else ""


def cells(run: Run) -> list[tuple[str, ...]]:
    """The rows below `header`: a model and a method each, then what a method costs one model more than another."""
    changes: list[tuple[str, ...]] = [
        (
            short(row.model),
            row.method,
            _bits(row.weight_bits),
            _bits(row.activation_bits),
            number(float(row.perplexity), 4) if math.isfinite(row.loss) else "not finite",
            "" if row.method == NONE else signed(row.delta),
            "" if row.method == NONE or math.isnan(row.delta_low) else interval(row.delta_low, row.delta_high),
            row.granularity,
        )
        for row in _rows(plain_rows(run))
    ]
    return [*changes, *between_models(run)] if len(models(run)) > 1 else [row[1:] for row in changes]


def _rows(table: pd.DataFrame) -> Any:
    """The rows of a table as tuples with names, whose types the declaration of the table says."""
    return table.itertuples()


def findings(run: Run) -> list[str]:
    """Sentences chosen by the numbers, which they quote."""
    sentences = [_of_model(run, model) for model in models(run)]
    if len(models(run)) > 1:
        sentences.append(COMPARABLE if run.info["data"]["comparable"] else NOT_COMPARABLE)
        sentences += _of_models(run)
    sentences += [calibration(run)] if calibration(run) else []
    return [*sentences, *run.info.get("notes", [])]


def text_line(run: Run) -> str:
    """How much of which text was read."""
    data = run.info["data"]
    sequences = counted(data["sequences"], "sequence")
    read = f"{sequences} of {number(data['tokens'])} tokens, {number(data['targets'])} targets."
    return f"{read} Delta is the loss minus that of the unquantized model; intervals are over sequences, paired."


def _of_model(run: Run, model: str) -> str:
    rows = plain_rows(run)
    rows = rows[rows["model"] == model]
    exact = rows[rows["method"] == NONE].iloc[0]
    opening = f"{apart(run, model) or 'The model'} (perplexity {number(float(exact['perplexity']), 4)})"
    others = rows[rows["method"] != NONE]
    finite = np.isfinite(others["loss"].to_numpy(dtype=float))
    broken = others[~finite]
    others = others[finite].sort_values("delta", ascending=False, kind="stable")
    if others.empty and broken.empty:
        return f"{opening} was measured as it is, by no method."
    clauses = []
    if len(others) == 1:
        clauses.append(f"{others.iloc[0]['method']} costs {_cost(others.iloc[0])}")
    elif len(others):
        clauses += _extremes(run, model, others)
    unclear = others[(others["delta_low"] <= 0) & (others["delta_high"] >= 0)]["method"].tolist()
    if unclear:
        clauses.append(f"no change can be told from zero for {', '.join(unclear)}")
    if len(broken):
        clauses.append(f"{', '.join(broken['method'])} gave no finite loss")
    return f"{opening}: {'; '.join(clauses)}."


def _extremes(run: Run, model: str, others: pd.DataFrame) -> list[str]:
    """What costs most and what least, each with the methods that its interval does not tell it apart from."""
    most, least = others.iloc[0], others.iloc[-1]
    if others["delta_low"].isna().all():
        costs = [f"{row['method']} costs {word}, {_cost(row)}" for row, word in ((most, "most"), (least, "least"))]
        return [*costs, "no interval says whether they differ, for want of sequences"]
    with_most = _with_most(run, model, others)
    if len(with_most) == len(others):
        return [f"{_listed(others)} are not told apart, {_span(others)}"]
    rest = others[~others["method"].isin(with_most["method"])]
    with_least = rest[[_tied(run, model, least, row) for _, row in rest.iterrows()]]
    clauses = []
    for group, words, first in ((with_most, "most", most), (with_least, "least", least)):
        if len(group) == 1:
            clauses.append(f"{first['method']} costs {words}, {_cost(first)}")
        else:
            clauses.append(f"{_listed(group)} cost {words} and are not told apart, {_span(group)}")
    return clauses


def _with_most(run: Run, model: str, others: pd.DataFrame) -> pd.DataFrame:
    """Of methods in falling order of what they cost a model, the first and those not told apart from it."""
    return others[[_tied(run, model, others.iloc[0], row) for _, row in others.iterrows()]]


def worst_method(run: Run) -> str | None:
    """The one method that costs every model more than any other does; None where there is no such method."""
    worst = set()
    for model in models(run):
        rows = plain_rows(run)
        rows = rows[(rows["model"] == model) & (rows["method"] != NONE)]
        if len(rows) < 2 or not np.isfinite(rows["loss"].to_numpy(dtype=float)).all():
            return None
        worst |= set(_with_most(run, model, rows.sort_values("delta", ascending=False, kind="stable"))["method"])
    return worst.pop() if len(worst) == 1 else None


def _tied(run: Run, model: str, one: "pd.Series[Any]", other: "pd.Series[Any]") -> bool:
    """Whether the data do not say which of two methods costs a model more: a method is tied with itself.

    By the interval of their difference, paired over sequences; a run without the table `paired` has only the intervals
    of the two changes, which must not overlap.
    """
    if one["method"] == other["method"]:
        return True
    if "paired" not in run.tables:
        apart = one["delta_low"] > other["delta_high"] or other["delta_low"] > one["delta_high"]
        return not apart
    rows = _pairs(run)
    rows = rows[(rows["model"] == model) & (rows["other_model"] == model)]
    pair = {one["method"], other["method"]}
    ends = [(row.difference_low, row.difference_high) for row in _rows(rows) if {row.method, row.other_method} == pair]
    return not any(low > 0 or high < 0 for low, high in ends)


def _listed(rows: pd.DataFrame) -> str:
    names = rows["method"].tolist()
    return f"{', '.join(names[:-1])} and {names[-1]}"


def _span(rows: pd.DataFrame) -> str:
    return f"{signed(float(rows['delta'].min()))} to {signed(float(rows['delta'].max()))} nats per token"


def between_models(run: Run) -> list[tuple[str, ...]]:
    """Rows of the table for what a method costs one model more than another, with the same columns."""
    if "paired" not in run.tables:
        return []
    return [
        (f"{short(row.model)} minus {short(row.other_model)}", row.method, "", "", "", signed(row.difference),
         "" if math.isnan(row.difference_low) else interval(row.difference_low, row.difference_high),
         "difference of the losses" if row.method == NONE else "difference of the deltas")
        for row in _rows(_pairs(run))
        if row.model != row.other_model and math.isfinite(row.difference)
    ]  # fmt: skip


def _of_models(run: Run) -> list[str]:
    """For every two models, which of the methods cost one of them more."""
    if "paired" not in run.tables:
        return []
    rows = _pairs(run)
    rows = rows[rows["model"] != rows["other_model"]]
    sentences = [_as_loaded(row) for row in _rows(rows[rows["method"] == NONE])]
    for group, pairs in rows[rows["method"] != NONE].groupby(["model", "other_model"], sort=False):
        model, other = cast("tuple[str, str]", group)
        more = pairs[pairs["difference_low"] > 0]["method"].tolist()
        less = pairs[pairs["difference_high"] < 0]["method"].tolist()
        same = [name for name in pairs["method"] if name not in (*more, *less)]
        parts = [
            f"{', '.join(names)} {words}" for names, words in ((more, "costs more"), (less, "costs less")) if names
        ]
        parts += [f"{', '.join(same)} not told apart"] if same else []
        sentences.append(f"{short(model)} against {short(other)}, paired over sequences: {'; '.join(parts)}.")
    return sentences


def _as_loaded(row: Any) -> str:
    """Two models as they were loaded, by their losses."""
    opening = f"{short(row.model)} against {short(row.other_model)}, both as loaded"
    if math.isnan(row.difference_low):
        return f"{opening}: {signed(row.difference)} nats per token, no interval."
    found = f"{signed(row.difference)} nats per token ({interval(row.difference_low, row.difference_high)})"
    apart = row.difference_low > 0 or row.difference_high < 0
    return f"{opening}: {found}{'' if apart else ', not told apart'}."


def calibration(run: Run) -> str:
    """On what the methods that calibrate were calibrated; empty where none does."""
    settings = run.info["settings"]
    names = settings.get("calibrated_methods", [name for name in methods(run) if "static" in name])
    names = [*names, *(name for name in settings.get("mitigate") or () if name != NONE)]
    if not names:
        return ""
    windows = counted(settings.get("calibration_sequences", 0), "window")
    behind = settings.get("calibration_windows") == "behind"
    if behind:
        source = printable(run.info["data"]["source"], 40, keep_end=True)
        return f"{', '.join(names)}: calibrated on {windows} of {source} behind the evaluated ones."
    if settings.get("calibration_data") in (None, run.info["data"]["source"]):
        return (
            f"{', '.join(names)}: calibrated on the evaluated windows themselves, so that no value lies outside the "
            "calibrated range, as values of other text may."
        )
    return (
        f"{', '.join(names)}: calibrated on {windows} of {printable(settings['calibration_data'], 40, keep_end=True)}."
    )


def _cost(row: "pd.Series[float]") -> str:
    within = "" if math.isnan(row["delta_low"]) else f" ({interval(row['delta_low'], row['delta_high'])})"
    return f"{signed(row['delta'])} nats per token{within}, perplexity {number(float(row['perplexity']), 4)}"


def signed(value: float) -> str:
    """A change with its sign, to four decimals."""
    return f"{value:+.4f}"


def interval(low: float, high: float) -> str:
    """An interval of a change."""
    return f"{low:+.4f} to {high:+.4f}"


def _bits(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.0f}"
