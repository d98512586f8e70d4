"""Which modules hurt: the loss with one module quantized alone, and with all but that one.

The first says what a module costs on its own, the second what sparing it would win back. The two need not agree: noise
that one layer makes may be drowned, or amplified, by that of others.

A forward pass per module and direction is dear, so this runs on few windows, and on the modules whose outputs are
noisiest where there are more than the limit. A pass begins at the layer of the module, with the states that entered it
when all of the model was as it is, or as the probe makes it (`passes.from_layer`), and weights are rounded once.
"""

import numpy as np
import pandas as pd
import torch
from transformers import PreTrainedModel

from sinkscope.methods.linear_modules import Place
from sinkscope.methods.probes import CalibratedProbe
from sinkscope.passes.batches import Batch, target_counts, unit
from sinkscope.passes.finite import or_infinite
from sinkscope.passes.from_layer import kept_states
from sinkscope.passes.losses import target_losses
from sinkscope.passes.modes import frozen
from sinkscope.progress.display import counted
from sinkscope.quantization.positions import by_position
from sinkscope.tables.builder import Rows


@torch.no_grad()
def losses(model: PreTrainedModel, batches: list[Batch], text: str = "") -> pd.DataFrame:
    """Each sequence's summed loss and number of targets: columns `loss_sum` (nats) and `targets`.

    Beside them the same two of every range of positions, as `positions.by_position` names them.
    """
    sums: list[float] = []
    parts = []
    with frozen(model):
        for batch in counted(batches, f"{text}: {unit(batches)}" if text else unit(batches)):
            of_batch = target_losses(model, batch)
            sums += of_batch.sum(1).tolist()
            parts.append(by_position(of_batch, batch))
    return pd.concat([_frame(sums, batches), pd.concat(parts, ignore_index=True)], axis=1)


def _frame(sums: list[float], batches: list[Batch]) -> pd.DataFrame:
    counts = np.concatenate([target_counts(batch).numpy() for batch in batches])
    return pd.DataFrame({"loss_sum": sums, "targets": counts})


def mean_loss(measured: pd.DataFrame) -> float:
    """The mean loss over all targets, in nats per token; not finite where that of a sequence is not."""
    return float(measured["loss_sum"].to_numpy(dtype=float).sum() / measured["targets"].sum())


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
    layers = {place.layer for place in ranked}
    exact = kept_states(model, batches, layers)
    costs = {}
    for place in counted(ranked, f"ranking by {calibrated.name}, alone: module"):
        with calibrated.entered(model, [place]):
            alone = exact.losses_from(model, place.layer)
        costs[place.name] = mean_loss(_frame(alone, batches)) - mean_loss(_frame(exact.losses, batches))
    del exact
    spared = {}
    with calibrated.entered_whole() as probing:
        whole = kept_states(model, batches, layers)
        for place in counted(ranked, f"ranking by {calibrated.name}, spared: module"):
            with probing.lifted(place):
                without = whole.losses_from(model, place.layer)
            before, after = (or_infinite(mean_loss(_frame(sums, batches))) for sums in (whole.losses, without))
            spared[place.name] = before - after  # infinite where that alone gives the model a loss; NaN if nothing does
    rows = Rows("ranking")
    order = sorted(ranked, key=lambda place: -or_infinite(costs[place.name]))  # what breaks the model, first
    for number, place in enumerate(order, start=1):
        rows.add(model=label, method=calibrated.name, rank=number, layer=place.layer, site=place.site,
                 module=place.name, delta_alone=costs[place.name], recovered=spared[place.name])  # fmt: skip
    return rows.frame()
