"""How the trainings went: the validation loss that each ended with, and what the tracks of the first seed measured."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from sinkscope.errors import SinkscopeError
from sinkscope.tables.builder import Rows
from sinkscope.tables.run_folder import Run


def trainings(metrics: Mapping[str, Sequence[Path]], seeds: Sequence[int]) -> pd.DataFrame:
    """The table `trainings`.

    Args:
        metrics: the metrics of every training, by model, a seed each.
        seeds: the numbers of the seeds.

    Raises:
        SinkscopeError: if a file is not what a training wrote.
    """
    rows = Rows("trainings")
    for role, files in metrics.items():
        for seed, file in zip(seeds, files, strict=True):
            rows.add(model=role, seed=seed, valid_loss=_last_valid(file))
    return rows.frame()


def tracked(tracks: Mapping[str, Run]) -> pd.DataFrame:
    """The table `tracked`: every track's numbers, by model."""
    rows = Rows("tracked")
    for role, run in tracks.items():
        own = run["track"]
        rows.add(model=role, step=own["step"].to_numpy(), metric=own["metric"].to_list(),
                 **{name: own[name].to_numpy(dtype=float) for name in ("value", "low", "high")})  # fmt: skip
    return rows.frame()


def _last_valid(file: Path) -> float | None:
    """The last validation loss of a training."""
    try:
        losses = pd.read_parquet(file)["valid_loss"].dropna()
    except Exception as error:  # what a damaged file leads to can be of any kind
        raise SinkscopeError(
            f"{file} is missing or damaged: move {file.parent} away, and the same command with `resume` trains it anew"
        ) from error
    return float(losses.iloc[-1]) if len(losses) else None
