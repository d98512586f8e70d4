"""What a reproduction found, in words that follow from its tables alone."""

import math
from typing import Any

from sinkscope.intervals.verdicts import CLAIMED, UNDECIDED
from sinkscope.report.text import counted, listed, number, printable
from sinkscope.tables.run_folder import Run


def trio_in_words(run: Run) -> str:
    """What the claims were tested on, as a title."""
    if run.info["scale"] is None:
        return f"The claims that need no training, on {printable(run.info['runs'][0]['recipe'], 60, keep_end=True)}"
    return f"The paper reproduced at scale {printable(run.info['scale'])}: {counted(_seeds(run), 'seed')}"


def subtitle(run: Run) -> str:
    """The line below titles."""
    data, trained = run.info["data"], run.info["trained"]
    text = printable(data["source"], 40, keep_end=True)
    measured = f"measured on {data['sequences']} x {data['tokens']} tokens of {text}"
    if trained is None:
        return f"{printable(run.info['runs'][0]['recipe'], 60, keep_end=True)}, {measured}"
    return (
        f"scale {printable(run.info['scale'])}, {number(trained['parameters'] / 1e6)} million parameters, "
        f"{counted(_seeds(run), 'seed')}; {measured}"
    )


def counted_claims(run: Run) -> str:
    """How many claims have which verdict, each named: "Of 10 claims 3 are reproduced (1, 2, 3); ..."."""
    claims = run["claims"]
    parts = []
    for word in CLAIMED:
        which = [str(claim) for claim in claims.loc[claims["verdict"] == word, "claim"]]
        if which:
            parts.append(f"{len(which)} {'is' if len(which) == 1 else 'are'} {word} ({listed(which)})")
    return f"Of {counted(len(claims), 'claim')}, {'; '.join(parts)}."


def found_in_words(row: dict[str, Any]) -> str:
    """A test's number with its interval, and what that is over."""
    if math.isnan(row["value"]):
        return "-"
    value = number(float(row["value"]))
    if row["over"] == "exact":
        return f"{value} (largest of {row['count']})" if row["count"] > 1 else value
    if math.isnan(row["low"]):
        return f"{value} (no interval)"
    return f"{value} ({number(float(row['low']))} to {number(float(row['high']))}, over {row['count']} {row['over']})"


def bound_in_words(row: dict[str, Any]) -> str:
    """The claimed side of a test's bound."""
    low, high = (f"{row[name]:.4g}" for name in ("lower_bound", "upper_bound"))
    return {"above": f"> {low}", "below": f"< {high}", "within": f"{low} to {high}", "at most": f"<= {high}"}[
        row["direction"]
    ]


def why(row: dict[str, Any]) -> str:
    """What a verdict lacks: a reason, or seeds."""
    if row["reason"]:
        return str(row["reason"])
    if row["verdict"] != UNDECIDED:
        return ""
    if math.isnan(row["seeds_needed"]):
        return "the interval reaches over the bound"
    return f"{row['seeds_needed']:.0f} seeds would tell, at this spread"


def _seeds(run: Run) -> int:
    return int(run.info["settings"]["seeds"])
