"""The paper's two tables with ours beside: the trained models, and what INT8 costs."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import pandas as pd

from sinkscope.quantities.rows import quantity
from sinkscope.report.entry import Entry
from sinkscope.report.page import Page
from sinkscope.report.published import PAPER
from sinkscope.report.reproduction.ruled import Columns, ruled
from sinkscope.report.text import number
from sinkscope.tables.run_folder import Run

_TITLES = {
    "valid_loss": "Validation loss [nats per token]",
    "valid_loss_difference": "Validation loss less the baseline's",
    "perplexity": "Perplexity",
    "document_perplexity": "Perplexity of whole documents",
    "single_2": "Needles single-2, found [%]",
    "single_3": "Needles single-3, found [%]",
    "multikey_1": "Needles multi-key, found [%]",
}
_METHODS = {
    "none": "unquantized",
    "w8a8-dynamic": "W8A8 dynamic per token",
    "w8a8-static": "W8A8 static per tensor",
    "w8a8-static-down": "W8A8 static, down_proj only",
}


def _part(run: Run, part: str) -> pd.DataFrame:
    rows: pd.DataFrame = run["beside_paper"][run["beside_paper"]["part"] == part]
    return rows


def _trained(run: Run) -> Page:
    rows = _part(run, "trained models")
    metrics = sorted(rows["metric"].drop_duplicates(), key=lambda metric: metric not in _TITLES)  # losses, then norms
    return _page(rows, [("metric", metric) for metric in metrics], _title, ("number",))


def _int8(run: Run) -> Page:
    rows = _part(run, "INT8")
    keys = rows[["metric", "method"]].drop_duplicates().sort_values("metric", key=lambda m: m != "perplexity",
                                                                    kind="stable")  # fmt: skip
    named = [tuple(pair) for pair in keys.itertuples(index=False)]
    return _page(rows, named, lambda key: f"{_TITLES[key[0]]}: {_METHODS[key[1]]}", ("number, method",), pair=True)


def _page(
    rows: pd.DataFrame,
    keys: Sequence[tuple[str, ...]],
    title: Callable[[Any], str],
    first: tuple[str],
    *,
    pair: bool = False,
) -> Page:
    """A table: ours of each model, then the paper's."""
    page = Page()
    models = list(rows["model"].drop_duplicates())
    paper = str(rows["paper_model"].iloc[0])
    columns = Columns(
        (*first, *models, *(f"paper {paper}: {model}" for model in models)),
        (0.22, *([0.145] * len(models)), *([0.125] * len(models))),
    )
    lines = []
    for key in keys:
        own = rows[(rows["metric"] == key[0]) & (rows["method"] == key[1])] if pair else rows[rows["metric"] == key[1]]
        by_model: Any = own.set_index("model").to_dict("index")
        ours = [_ours(by_model.get(model)) for model in models]
        theirs = [_theirs(by_model.get(model)) for model in models]
        lines.append((title(key), *ours, *theirs))
    ruled(page, columns, lines)
    return page


def _title(key: tuple[str, str]) -> str:
    return _TITLES.get(key[1]) or quantity(key[1]).title


def _ours(row: dict[str, float] | None) -> str:
    if row is None or math.isnan(row["value"]):
        return "-"
    ends = "" if math.isnan(row["low"]) else f" ({number(row['low'])} to {number(row['high'])})"
    return f"{number(row['value'], 4)}{ends}"


def _theirs(row: dict[str, float] | None) -> str:
    return "-" if row is None or math.isnan(row["paper"]) else f"{row['paper']:,g}"


TRAINED = Entry(
    "trained_models",
    "Trained models, beside the paper's",
    _trained,
    "Ours: mean over seeds, geometric but of losses and sink rates, and of several its 95 % interval; differences are "
    f"formed seed by seed. {PAPER}: models of 0.3 billion parameters "
    "at step 20000, one seed. Losses and absolute norms compare only between models of like size, text and tokenizer; "
    "the claims are about ratios.",
    applies=lambda run: bool(len(_part(run, "trained models"))),
    words=True,
)
INT8 = Entry(
    "int8",
    "What INT8 costs, beside the paper",
    _int8,
    f"Ours: geometric mean over seeds, and of several its 95 % interval; needles and whole documents of "
    f"the first. {PAPER}: models of 1 billion parameters, symmetric INT8, "
    "perplexity of WikiText. Weights are static per output channel in all.",
    applies=lambda run: bool(len(_part(run, "INT8"))),
    words=True,
)
