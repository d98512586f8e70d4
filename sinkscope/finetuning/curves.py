"""How the loss came down: both trainings of a finetuning, step by step, as a table for their comparison.

A training loss is that of the step's batch before its update, a held-out one that of the model after so many updates.
So both are put at the number of updates that the model had behind it, and the first held-out loss stands at 0: before
training, and with V-scale right after it was attached.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from sinkscope.finetuning.run import Finetuned
from sinkscope.finetuning.settings import AFTER, BEFORE, CONTROL
from sinkscope.tables.builder import Rows
from sinkscope.training.training_folder import METRICS


def training_losses(done: Finetuned) -> pd.DataFrame:
    """The table `training_losses`.

    Args:
        done: what the finetuning left.
    """
    rows, losses = Rows("training_losses"), done.losses
    rows.add(run=BEFORE, step=0, loss=np.nan, valid_loss=losses["before"])
    _add(rows, AFTER, done.model.parent, losses.get("attached", losses["before"]), losses["after"])
    if done.control is not None:
        _add(rows, CONTROL, done.control.parent, losses["before"], losses["control"])
    return rows.frame()


def _add(rows: Rows, run: str, folder: Path, first: float, last: float) -> None:
    """The steps of a training; `first` and `last` are its held-out losses before the first step and after the last."""
    metrics = pd.read_parquet(folder / METRICS)
    step = metrics["step"].to_numpy()
    at = np.arange(int(step.max()) + 2)
    loss, valid = np.full((2, len(at)), np.nan)
    loss[step], valid[step + 1] = metrics["loss"], metrics["valid_loss"]
    valid[0], valid[-1] = first, last  # the last as reported: with a rising valve at its end
    rows.add(run=run, step=at, loss=loss, valid_loss=valid)
