"""Ours beside the paper's: the numbers of its tables of trained models and of INT8, seed by seed, with intervals."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from sinkscope.errors import SinkscopeError
from sinkscope.intervals import limits
from sinkscope.quantities.rows import quantity
from sinkscope.report.published import INT8, TRAINED
from sinkscope.reproduction.claim import BASELINE, VSCALE
from sinkscope.reproduction.measures import NONE, Seed
from sinkscope.tables.builder import Rows
from sinkscope.tables.run_folder import Run

TRAINED_PART, INT8_PART = "trained models", "INT8"
_LOSS, _VALID, _PERPLEXITY, _OF_DOCUMENTS = "loss", "valid_loss", "perplexity", "document_perplexity"
_PERCENT = 100


def beside_paper(
    seeds: Sequence[Seed], trainings: Mapping[str, Sequence[Path]], evaluations: Mapping[tuple[str, str], Run]
) -> pd.DataFrame:
    """The table `beside_paper`.

    Args:
        seeds: what was measured, a seed each.
        trainings: the metrics of every training, by model.
        evaluations: runs of `evaluate` by model and method.
    """
    rows = Rows("beside_paper")
    for role in seeds[0].analyses:
        published = TRAINED[f"0.3B {role}"]
        for metric in TRAINED["0.3B baseline"]:
            values = [seed.analyses[role].info["headline"].get(metric) for seed in seeds]
            name = metric
            if metric == _LOSS:
                values, name = [_last_valid(file) for file in trainings.get(role, ())], _VALID
            if values:
                found = _over_seeds(values)
                found["high"] = min(found["high"], quantity(metric).ceiling)  # NaN stays NaN
                rows.add(part=TRAINED_PART, method=NONE, metric=name, model=role, **found,
                         paper=published.get(metric, math.nan), paper_model="0.3B")  # fmt: skip
    for method, numbers in INT8.items():
        for metric, pair in numbers.items():
            for role, paper in zip((BASELINE, VSCALE), pair, strict=True):
                values = (
                    [_perplexity(seed, role, method) for seed in seeds]
                    if metric == _PERPLEXITY
                    else _needles(evaluations.get((role, method)), metric)
                )
                if role in seeds[0].analyses and any(value is not None for value in values):
                    rows.add(part=INT8_PART, method=method, metric=metric, model=role, **_over_seeds(values),
                             paper=paper, paper_model="1B")  # fmt: skip
    for (role, method), run in evaluations.items():
        value = run.info["headline"].get(_PERPLEXITY)
        if value is not None:
            rows.add(part=INT8_PART, method=method, metric=_OF_DOCUMENTS, model=role, **_over_seeds([value]),
                     paper=math.nan, paper_model="1B")  # fmt: skip
    return rows.frame()


def _over_seeds(values: Sequence[float | None]) -> dict[str, float]:
    """Geometric mean with its interval over seeds where all are positive, the mean alone elsewhere."""
    known = np.array([math.nan if value is None else value for value in values], dtype=float)
    if not (known > 0).all():
        return {"value": float(known.mean()), "low": math.nan, "high": math.nan}
    logs = np.log(known)
    middle = float(np.exp(logs.mean()))
    low, high = limits.NONE
    if len(logs) > 1 and float(logs.var(ddof=1)) > 0:
        low, high = limits.over_seeds(middle, float(logs.var(ddof=1)) / len(logs), len(logs) - 1)
    return {"value": middle, "low": low, "high": high}


def _last_valid(file: Path) -> float | None:
    """The last validation loss of a training.

    Raises:
        SinkscopeError: if the file is not what a training wrote.
    """
    try:
        losses = pd.read_parquet(file)["valid_loss"].dropna()
    except Exception as error:  # what a damaged file leads to can be of any kind
        raise SinkscopeError(
            f"{file} is missing or damaged: move {file.parent} away, and the same command with `resume` trains it anew"
        ) from error
    return float(losses.iloc[-1]) if len(losses) else None


def _perplexity(seed: Seed, role: str, method: str) -> float | None:
    if seed.quantized is None or role not in seed.names:
        return None
    rows = seed.quantized["quantization"]
    rows = rows[(rows["model"] == seed.names[role]) & (rows["method"] == method)]
    return float(rows["perplexity"].iloc[0]) if len(rows) else None


def _needles(run: Run | None, variant: str) -> list[float | None]:
    """Percent of the needles of a kind that were found."""
    found = None if run is None else run.info["headline"].get(f"needle_{variant}")
    return [None if found is None else _PERCENT * float(found)]
