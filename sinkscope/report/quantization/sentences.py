"""What a quantization run shows, in words and cells: one source for the first page and the terminal."""

import math
from typing import Any

import pandas as pd

from sinkscope.report.text import counted, number, printable
from sinkscope.tables.run_folder import Run

HEADER = ("Model", "Method", "W bits", "A bits", "Perplexity", "Delta", "95 % interval", "Scales")
NONE = "none"
COMPARABLE = "All models read the same windows of tokens, so their perplexities compare."
NOT_COMPARABLE = (
    "The models' tokenizers cut the text differently: perplexities per token do NOT compare between these models. "
    "Compare each model with its own unquantized row."
)


def subtitle(run: Run) -> str:
    """What the run is about, in one line."""
    names = ", ".join(short(model) for model in models(run))
    return f"{names} on {printable(run.info['data']['source'], 40, keep_end=True)}"


def models(run: Run) -> list[str]:
    """The models of a run, in order."""
    return list(dict.fromkeys(run["quantization"]["model"]))


def methods(run: Run) -> list[str]:
    """The methods of a run, in order."""
    return list(dict.fromkeys(run["quantization"]["method"]))


def short(model: str) -> str:
    """A model's name where there is little room."""
    return printable(model, 26, keep_end=True)


def cells(run: Run) -> list[tuple[str, ...]]:
    """The rows of the table."""
    return [
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
        for row in _rows(run["quantization"])
    ]


def _rows(table: pd.DataFrame) -> Any:
    """The rows of a table as tuples with names, whose types the declaration of the table says."""
    return table.itertuples()


def findings(run: Run) -> list[str]:
    """Sentences chosen by the numbers, which they quote."""
    table = run["quantization"]
    sentences = [_of_model(model, table[table["model"] == model]) for model in models(run)]
    if len(models(run)) > 1:
        sentences.append(COMPARABLE if run.info["data"]["comparable"] else NOT_COMPARABLE)
    return [*sentences, *run.info.get("notes", [])]


def text_line(run: Run) -> str:
    """How much of which text was read."""
    data = run.info["data"]
    sequences = counted(data["sequences"], "sequence")
    read = f"{sequences} of {number(data['tokens'])} tokens, {number(data['targets'])} targets."
    return f"{read} Delta is the loss minus that of the unquantized model; intervals are over sequences, paired."


def _of_model(model: str, rows: pd.DataFrame) -> str:
    exact = rows[rows["method"] == NONE].iloc[0]
    opening = f"{short(model)} (perplexity {number(float(exact['perplexity']), 4)})"
    others = rows[rows["method"] != NONE]
    broken = others[~others["loss"].map(math.isfinite)]
    others = others[others["loss"].map(math.isfinite)]
    if others.empty and broken.empty:
        return f"{opening} was measured as it is, by no method."
    clauses = []
    if len(others):
        worst, best = others.iloc[int(others["delta"].argmax())], others.iloc[int(others["delta"].argmin())]
        clauses.append(f"{worst['method']} costs most, {_cost(worst)}")
        if len(others) > 1:
            clauses.append(f"{best['method']} least, {_cost(best)}")
        unclear = others[(others["delta_low"] <= 0) & (others["delta_high"] >= 0)]["method"].tolist()
        if unclear:
            clauses.append(f"no change can be told from zero for {', '.join(unclear)}")
    if len(broken):
        clauses.append(f"{', '.join(broken['method'])} gave no finite loss")
    return f"{opening}: {'; '.join(clauses)}."


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
