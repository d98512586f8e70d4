"""What mitigations do to formats, in words and cells: one source for the answer page and the terminal.

The rules, by which every statement has its numbers and its interval:

- A format has a cost to win back where the interval of its change lies above 0. Only then is there a share of it.
- A mitigation wins back a share of that cost, whose interval is a bootstrap of the ratio of the two, over sequences; it
  is said where the interval lies above 0. Below 0 the mitigation makes things worse. Else nothing can be told.
- The best is the one that wins back most; those whose paired difference to it has an interval with 0 are not told
  apart.
- Where a mitigation itself changes the unquantized loss, that change is said beside it.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from sinkscope.intervals.loss_bootstrap import ratio_interval
from sinkscope.names import NONE
from sinkscope.report.quantization.sentences import apart, interval, models, signed
from sinkscope.report.text import printable
from sinkscope.tables.run_folder import Run
from sinkscope.tables.unmitigated import mitigations

MOST_SENTENCES = 3  # formats of one model that a page speaks of
BETTER, WORSE, UNCLEAR = "better", "worse", ""
SIGNS = {BETTER: "\u25bc", WORSE: "\u25b2", UNCLEAR: ""}
UNQUANTIZED = "not quantized"
_EXACT = 1e-4  # nats: changes of the unquantized loss below this are rounding of the arithmetic
_SMALLEST = 1e-6  # nats: nor do differences of a format below this say anything


@dataclass(frozen=True)
class Cell:
    """A format under a mitigation.

    Attributes:
        delta: change of the loss against the unquantized model, without its mitigation.
        low: lower end of its interval, NaN where there is none.
        high: upper end.
        told: whether the mitigation makes the format better or worse.
        best: whether it is the best of its format, or better too and not told apart from it.
    """

    delta: float
    low: float
    high: float
    told: str
    best: bool


@dataclass(frozen=True)
class Share:
    """What a mitigation wins back of a format's cost, as a share with its interval."""

    mitigation: str
    chose: str
    value: float
    low: float
    high: float


def mitigations_of(run: Run) -> list[str]:
    """The mitigations of a run in order, `none` first."""
    found = dict.fromkeys(mitigations(run["quantization"]))
    return [NONE, *(name for name in found if name != NONE)]


def has_mitigations(run: Run) -> bool:
    """Whether more than one row of mitigations was measured."""
    return len(mitigations_of(run)) > 1


def formats_of(run: Run) -> list[str]:
    """The formats that were measured under some mitigation; the unquantized model first, where it was."""
    table = run["quantization"]
    under = set(table[mitigations(table) != NONE]["method"])
    return [name for name in dict.fromkeys(table["method"]) if name in under]


def grid(run: Run, model: str) -> dict[tuple[str, str], Cell]:
    """The cells of a model by mitigation and format; what was not measured is not there."""
    table = _table(run, model)
    cells = {}
    for method in formats_of(run):
        best = _best(run, model, table[table["method"] == method]) if method != NONE else set()
        for row in _rows(table[table["method"] == method]):
            if (row.method, row.mitigation) == (NONE, NONE):
                continue
            cells[row.mitigation, method] = Cell(
                row.delta, row.delta_low, row.delta_high, _told(row), _told(row) == BETTER and row.mitigation in best
            )
    return cells


def pair_grid(run: Run, model: str, other: str) -> dict[tuple[str, str], Cell]:
    """What a format costs one model more than another; empty where they read other windows."""
    pairs = run["paired"]
    pairs = pairs.assign(mitigation=mitigations(pairs))
    pairs = pairs[(pairs["model"] == model) & (pairs["other_model"] == other)]
    return {
        (row.mitigation, row.method): Cell(
            row.difference, row.difference_low, row.difference_high,
            BETTER if row.difference_high < 0 else WORSE if row.difference_low > 0 else UNCLEAR, False,
        )
        for row in _rows(pairs)
        if row.method != NONE
    }  # fmt: skip


def choices(run: Run) -> list[str]:
    """What each mitigation chose, where that is the same for all formats of a model; modules stand in the sentences."""
    lines = []
    for model in models(run):
        table = _table(run, model)
        for mitigation in mitigations_of(run)[1:]:
            chosen = {_text(value) for value in table[table["mitigation"] == mitigation]["mitigation_chose"]}
            if len(chosen) == 1 and chosen != {""}:
                of = f"{apart(run, model)}, " if apart(run, model) else ""
                lines.append(f"{of}{mitigation}: {printable(chosen.pop(), 120)}")
    return lines


def answers(run: Run, most: int = MOST_SENTENCES) -> list[str]:
    """Sentences for those who have to choose: for the formats that cost most, what wins that back and what does not.

    Args:
        run: the run.
        most: formats of each model that are spoken of.
    """
    sentences = []
    for model in models(run):
        table = _table(run, model)
        plain = table[(table["mitigation"] == NONE) & (table["method"] != NONE)]
        plain = plain[plain["method"].isin(formats_of(run))].sort_values("delta", ascending=False, kind="stable")
        told = plain[plain["delta_low"] > 0]
        opening = f"{apart(run, model)}: " if apart(run, model) else ""
        sentences += [opening + _answer(run, model, row) for row in _rows(told.head(most))]
        sentences += [opening + text for text in _unquantized(table)]
        if told.empty and len(plain):
            names = ", ".join(plain["method"])
            sentences.append(f"{opening}no cost can be told from zero for {names}: there is nothing to win back.")
    return sentences


def shares(run: Run, model: str, method: str) -> list[Share]:
    """What each mitigation wins back of a format's cost, most first; only where losses are finite."""
    losses = run["losses"].assign(mitigation=mitigations(run["losses"]))
    losses = losses[losses["model"] == model]
    seed = run.info["settings"].get("seed", 0)
    exact = _sums(losses, NONE, NONE)
    plain = _sums(losses, method, NONE)
    table = _table(run, model)
    found = []
    for row in _rows(table[(table["method"] == method) & (table["mitigation"] != NONE)]):
        won = plain - _sums(losses, method, row.mitigation)
        if np.isfinite(won).all() and (plain - exact).sum() > 0:
            low, high = ratio_interval(won, plain - exact, seed=seed)
            value = float(won.sum() / (plain - exact).sum())
            found.append(Share(row.mitigation, _text(row.mitigation_chose), value, low, high))
    return sorted(found, key=lambda share: -share.value)


def _answer(run: Run, model: str, row: Any) -> str:
    opening = f"{row.method} costs {signed(row.delta)} nats per token ({interval(row.delta_low, row.delta_high)})"
    found = shares(run, model, row.method)
    helping = [share for share in found if share.low > 0]
    worse = [share for share in found if share.high < 0]
    unclear = [share.mitigation for share in found if not share.low > 0 and not share.high < 0]
    parts = []
    if helping:
        tied = _tied(run, model, row.method, helping[0].mitigation)
        first = [share for share in helping if share is helping[0] or share.mitigation in tied]
        rest = [share for share in helping if share not in first]
        many = ", not told apart" if len(first) > 1 else ""
        others = "".join(f", {_named(share)} {_of(share)}" for share in first[1:])
        parts.append(f"{_named(first[0])} wins back {_of(first[0])}{others}{many}")
        parts += [f"{_named(share)} {_of(share)}" for share in rest]
    else:
        parts.append("nothing that was tried wins any of it back" if found else "no mitigation was measured on it")
    if worse:
        parts.append(f"{_list([share.mitigation for share in worse], 'makes', 'make')} it worse")
    if unclear:
        parts.append(f"no difference can be told for {', '.join(unclear)}")
    return f"{opening}; {'; '.join(parts)}."


def _named(share: Share) -> str:
    """A mitigation, with the modules that it keeps, as these are what a reader acts on."""
    if share.mitigation.startswith("keep") and share.chose:
        return f"keeping {printable(share.chose, 90)} unquantized"
    if share.mitigation == "prefix" and share.chose:
        return f"prefix ({printable(share.chose, 40)})"
    return share.mitigation


def _list(names: list[str], one: str, several: str) -> str:
    if len(names) == 1:
        return f"{names[0]} {one}"
    return f"{', '.join(names[:-1])} and {names[-1]} {several}"


def _of(share: Share) -> str:
    return f"{100 * share.value:.0f} % ({100 * share.low:.0f} to {100 * share.high:.0f} %)"


def _unquantized(table: pd.DataFrame) -> list[str]:
    """What mitigations do to the unquantized model, where that is more than arithmetic."""
    rows = table[(table["method"] == NONE) & (table["mitigation"] != NONE)]
    changed = [row for row in _rows(rows) if abs(row.delta) > _EXACT and (row.delta_low > 0 or row.delta_high < 0)]
    return [
        f"{row.mitigation} by itself changes the unquantized loss by {signed(row.delta)} "
        f"({interval(row.delta_low, row.delta_high)}), which its formats contain."
        for row in changed
    ]


def _best(run: Run, model: str, rows: pd.DataFrame) -> set[str]:
    """The mitigation under which a format costs least, and those not told apart from it; none where all are tied."""
    finite = rows[np.isfinite(rows["delta"].to_numpy(dtype=float))]
    if len(finite) < 2:
        return set()
    first = str(finite.sort_values("delta", kind="stable").iloc[0]["mitigation"])
    tied = {first} | _tied(run, model, str(rows.iloc[0]["method"]), first)
    return set() if NONE in tied else tied


def _tied(run: Run, model: str, method: str, first: str) -> set[str]:
    """The mitigations that the paired differences do not tell from one of them, for a format."""
    pairs = run["paired"]
    pairs = pairs[(pairs["model"] == model) & (pairs["other_model"] == model)]
    pairs = pairs[(pairs["method"] == method) & (pairs["other_method"] == method)]
    tied = set()
    for row in _rows(pairs):
        names = {row.mitigation, row.other_mitigation}
        if first in names and not (row.difference_low > 0 or row.difference_high < 0):
            tied |= names - {first}
    return tied


def _told(row: Any) -> str:
    if not abs(row.against_unmitigated) > (_EXACT if row.method == NONE else _SMALLEST):
        return UNCLEAR
    if row.against_unmitigated_high < 0:
        return BETTER
    return WORSE if row.against_unmitigated_low > 0 else UNCLEAR


def _table(run: Run, model: str) -> pd.DataFrame:
    table = run["quantization"]
    return table.assign(mitigation=mitigations(table))[table["model"] == model]


def _sums(losses: pd.DataFrame, method: str, mitigation: str) -> "np.ndarray[tuple[int], np.dtype[np.float64]]":
    rows = losses[(losses["method"] == method) & (losses["mitigation"] == mitigation)]
    return rows["loss_sum"].to_numpy(dtype=np.float64)


def _rows(table: pd.DataFrame) -> Any:
    return table.itertuples()


def _text(value: object) -> str:
    return "" if value is None or (isinstance(value, float) and math.isnan(value)) else str(value)
