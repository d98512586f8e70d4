"""What a reproduction found, in words that follow from its tables alone."""

import math
from collections.abc import Callable
from typing import Any

import pandas as pd

from sinkscope.intervals.limits import MOST_SEEDS
from sinkscope.intervals.verdicts import CLAIMED, UNDECIDED
from sinkscope.report.text import counted, listed, number, printable
from sinkscope.tables.run_folder import Run

_NO_COUNT = f", and no number of seeds up to {MOST_SEEDS:,} would tell"


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
    """How many claims have which verdict, each named: "Of 10 claims, 3 are reproduced (1, 2 and 3); ..."."""
    return _counted(run["claims"], "claim", lambda rows: f" ({listed([str(claim) for claim in rows['claim']])})")


def counted_tests(run: Run) -> str:
    """How many tests have which verdict."""
    return _counted(run["tests"], "test", lambda _: "")


def _counted(rows: pd.DataFrame, thing: str, named: Callable[[pd.DataFrame], str]) -> str:
    parts = []
    for word in CLAIMED:
        which = rows[rows["verdict"] == word]
        if len(which):
            parts.append(f"{len(which)} {'is' if len(which) == 1 else 'are'} {word}{named(which)}")
    return f"Of {counted(len(rows), thing)}, {'; '.join(parts)}."


def made_in_words(run: Run) -> str:
    """Which program wrote the report, when, and on what."""
    commit = run.info.get("commit")
    version = f"{run.info['sinkscope']}, commit {printable(commit)}" if commit else run.info["sinkscope"]
    versions = ", ".join(f"{name} {version}" for name, version in run.info["versions"].items())
    return f"sinkscope {version}, {run.info['created']}; {versions}."


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
        return "the interval reaches over the bound" + (_NO_COUNT if row["over"] == "seeds" else "")
    return f"{row['seeds_needed']:.0f} seeds would tell four times in five, at this spread"


def _seeds(run: Run) -> int:
    return int(run.info["settings"]["seeds"])
