"""Ours beside the paper's: the numbers of its tables of trained models and of INT8.

Means and intervals are those of the claims (`rule`): geometric, but of losses, differences and shares. One training is
shown without an interval, which would be one over text alone, beside numbers of other trainings.
"""

import math
from collections.abc import Mapping, Sequence

import pandas as pd

from sinkscope.quantities.rows import quantity
from sinkscope.report.published import INT8, TRAINED
from sinkscope.reproduction.claim import BASELINE, VSCALE
from sinkscope.reproduction.measures import NONE, Seed, headline, loss_per_token
from sinkscope.reproduction.rule import One, Scale, estimate
from sinkscope.tables.builder import Rows
from sinkscope.tables.run_folder import Run

TRAINED_PART, INT8_PART = "trained models", "INT8"
VALID, VALID_DIFFERENCE = "valid_loss", "valid_loss_difference"
_LOSS, _PERPLEXITY, _OF_DOCUMENTS = "loss", "perplexity", "document_perplexity"
_PERCENT = 100
_MOST = 700.0  # nats whose exponential is still a number
_PAPER_MODELS = {TRAINED_PART: "0.3B", INT8_PART: "1B"}


def beside_paper(
    seeds: Sequence[Seed], trainings: pd.DataFrame, evaluations: Mapping[tuple[str, str], Run]
) -> pd.DataFrame:
    """The table `beside_paper`.

    Args:
        seeds: what was measured, a seed each.
        trainings: the table of that name.
        evaluations: runs of `evaluate` by model and method.
    """
    rows = Rows("beside_paper")

    def add(part: str, method: str, metric: str, model: str, found: Mapping[str, float], paper: float) -> None:
        rows.add(part=part, method=method, metric=metric, model=model, **found, paper=paper,
                 paper_model=_PAPER_MODELS[part])  # fmt: skip

    losses = {str(role): own["valid_loss"].to_list() for role, own in trainings.groupby("model", sort=False)}
    reference = _published(BASELINE)
    for role in seeds[0].analyses:
        published = _published(role)
        if role in losses:
            found = _found([_one(loss) for loss in losses[role]], "linear")
            add(TRAINED_PART, NONE, VALID, role, found, published[_LOSS])
        if role in losses and role != BASELINE:
            pairs = zip(losses[role], losses[BASELINE], strict=True)
            found = _found([_one(one - other) for one, other in pairs], "linear")
            add(TRAINED_PART, NONE, VALID_DIFFERENCE, role, found, round(published[_LOSS] - reference[_LOSS], 4))
        for metric in reference:
            if metric != _LOSS:
                ceiling = quantity(metric).ceiling
                ones = [headline(seed.analyses[role], metric) for seed in seeds]
                found = _found(ones, "linear" if ceiling == 1 else "log")
                found["low"], found["high"] = max(found["low"], 0.0), min(found["high"], ceiling)  # NaN stays NaN
                add(TRAINED_PART, NONE, metric, role, found, published.get(metric, math.nan))
    for method, numbers in INT8.items():
        for metric, pair in numbers.items():
            for role, paper in zip((BASELINE, VSCALE), pair, strict=True):
                if role not in seeds[0].analyses:
                    continue
                if metric == _PERPLEXITY:
                    per_token = _found([loss_per_token(seed, role, method) for seed in seeds], "linear")
                    found = {end: math.exp(min(loss, _MOST)) for end, loss in per_token.items()}
                else:
                    found = _found([_needles(evaluations.get((role, method)), metric)], "linear")
                if not math.isnan(found["value"]):
                    add(INT8_PART, method, metric, role, found, paper)
    for (role, method), run in evaluations.items():
        value = run.info["headline"].get(_PERPLEXITY)
        if value is not None:
            add(INT8_PART, method, _OF_DOCUMENTS, role, _found([_one(value)], "log"), math.nan)
    return rows.frame()


def _published(role: str) -> Mapping[str, float]:
    return TRAINED[f"{_PAPER_MODELS[TRAINED_PART]} {role}"]


def _found(ones: Sequence[One], scale: Scale) -> dict[str, float]:
    """The number of the trainings, and of several its interval."""
    found = estimate(ones, scale, "above")
    low, high = (found.low, found.high) if len(ones) > 1 else (math.nan, math.nan)
    return {"value": found.value, "low": low, "high": high}


def _one(value: float | None) -> One:
    return One(missing="it was not measured") if value is None or math.isnan(value) else One(value)


def _needles(run: Run | None, variant: str) -> One:
    """Percent of the needles of a kind that were found."""
    found = None if run is None else run.info["headline"].get(f"needle_{variant}")
    return _one(None if found is None else _PERCENT * float(found))
