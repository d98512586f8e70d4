"""The headline numbers of an evaluation, derived from its tables."""

import math
from typing import Any

import pandas as pd

_WITH_INTERVAL = ("perplexity", "word_perplexity", "byte_perplexity", "bits_per_byte")


def evaluation_headline(tables: dict[str, pd.DataFrame]) -> dict[str, Any]:
    """Headline numbers; those of parts that were left out are absent.

    Args:
        tables: the tables of `sinkscope.tables.declared.evaluation` that there are.
    """
    numbers: dict[str, Any] = {}
    if "perplexity" in tables:
        numbers |= _perplexity(tables["perplexity"])
    if "needles" in tables:
        numbers |= _needles(tables["needles"])
    if "tasks" in tables:
        numbers |= _tasks(tables["tasks"])
    return {name: None if isinstance(v, float) and math.isnan(v) else v for name, v in numbers.items()}


def _perplexity(perplexity: pd.DataFrame) -> dict[str, Any]:
    rows = perplexity.set_index("metric")[["value", "low", "high"]].to_dict("index")
    numbers = {"loss": rows["loss"]["value"]}
    for metric in _WITH_INTERVAL:
        if metric in rows:
            value, low, high = rows[metric].values()
            numbers |= {metric: value, f"{metric}_low": low, f"{metric}_high": high}
    return numbers


def _needles(needles: pd.DataFrame) -> dict[str, Any]:
    by_variant = needles.groupby("variant", sort=False)["found"].mean()
    scores = {f"needle_{variant}": float(score) for variant, score in by_variant.items()}
    return {"needles_asked": len(needles), "needles_found": int(needles["found"].sum()), **scores}


def _tasks(tasks: pd.DataFrame) -> dict[str, Any]:
    """`accuracy_mean`: the unweighted mean of `acc` over the tasks that have it."""
    accuracy = tasks[tasks["metric"] == "acc"].drop_duplicates("task")["value"]
    return {"tasks": int(tasks["task"].nunique()), "accuracy_mean": float(accuracy.mean()) if len(accuracy) else None}
