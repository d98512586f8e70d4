"""Which modules hurt: the loss with one module quantized alone, and with all but that one.

The first says what a module costs on its own, the second what sparing it would win back. The two need not agree: noise
that one layer makes may be drowned, or amplified, by that of others.

A forward pass per module and direction is dear, so this runs on few windows, and on the modules whose outputs are
noisiest where there are more than the limit.
"""

import numpy as np
import pandas as pd
import torch
from transformers import PreTrainedModel

from sinkscope.methods.linear_modules import Place
from sinkscope.methods.probes import CalibratedProbe
from sinkscope.passes.batches import Batch, target_counts, unit
from sinkscope.passes.losses import loss_sums
from sinkscope.passes.modes import frozen
from sinkscope.progress.display import counted
from sinkscope.tables.builder import Rows


@torch.no_grad()
def losses(model: PreTrainedModel, batches: list[Batch], text: str = "") -> pd.DataFrame:
    """Each sequence's summed loss and number of targets: columns `loss_sum` (nats) and `targets`."""
    sums: list[float] = []
    with frozen(model):
        for batch in counted(batches, f"{text}: {unit(batches)}" if text else unit(batches)):
            sums += loss_sums(model, batch).tolist()
    counts = np.concatenate([target_counts(batch).numpy() for batch in batches])
    return pd.DataFrame({"loss_sum": sums, "targets": counts})


def mean_loss(measured: pd.DataFrame) -> float:
    """The mean loss over all targets, in nats per token."""
    return float(measured["loss_sum"].sum() / measured["targets"].sum())


def noisiest(noise: pd.DataFrame, places: list[Place], limit: int) -> list[Place]:
    """The `limit` modules of the lowest output SQNR, noisiest first.

    Args:
        noise: rows of the table `noise`, of one model and method.
        places: the modules to choose from.
        limit: how many.
    """
    order = noise.sort_values("sqnr_output", kind="stable")["module"].tolist()
    by_name = {place.name: place for place in places}
    return [by_name[name] for name in order if name in by_name][:limit]


def rank(
    model: PreTrainedModel,
    label: str,
    calibrated: CalibratedProbe,
    ranked: list[Place],
    batches: list[Batch],
) -> pd.DataFrame:
    """Measures the loss with each module quantized alone and with all but it.

    Args:
        model: the unquantized model.
        label: its name in the table.
        calibrated: the probe, and its modules.
        ranked: those of its modules that are ranked.
        batches: windows of text.

    Returns:
        The table `ranking`, what hurts most alone first.
    """
    exact = mean_loss(losses(model, batches))
    with calibrated.entered(model):
        whole = mean_loss(losses(model, batches))
    costs = []
    for place in counted(ranked, f"ranking by {calibrated.name}: module"):
        with calibrated.entered(model, [place]):
            alone = mean_loss(losses(model, batches))
        with calibrated.entered(model, [other for other in calibrated.places if other.name != place.name]):
            without = mean_loss(losses(model, batches))
        costs.append((place, alone - exact, whole - without))
    rows = Rows("ranking")
    costs.sort(key=lambda entry: -entry[1])
    for number, (place, alone, spared) in enumerate(costs, start=1):
        rows.add(model=label, method=calibrated.name, rank=number, layer=place.layer, site=place.site,
                 module=place.name, delta_alone=alone, recovered=spared)  # fmt: skip
    return rows.frame()
