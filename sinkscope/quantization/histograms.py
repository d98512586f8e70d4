"""How the values of a module are spread against its quantization steps: counts of |x| in bins of half an octave.

Bins are powers of two apart because what matters is the ratio to the step: with a scale s every |x| below s / 2 becomes
zero, and the largest |x| sets s.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle
from transformers import PreTrainedModel

from sinkscope.methods.linear_modules import Place
from sinkscope.passes.batches import Batch
from sinkscope.passes.losses import loss_sums
from sinkscope.passes.modes import frozen
from sinkscope.tables.builder import Rows

OCTAVES = 24
PER_OCTAVE = 2
_BINS = OCTAVES * PER_OCTAVE


def counts(x: Tensor, largest: float) -> Tensor:
    """How many |x| lie in each bin below `largest`, int64 [48]; the first also holds what is smaller, zeros too.

    Bin b covers largest * 2^((b - 48) / 2) to largest * 2^((b - 47) / 2), its lower end included.
    """
    octaves = torch.log2(x.float().abs() / largest)  # -inf at 0
    bins = (octaves * PER_OCTAVE).floor().clamp(-_BINS, -1) + _BINS
    return torch.bincount(bins.long().flatten().cpu(), minlength=_BINS)


@torch.no_grad()
def histograms(
    model: PreTrainedModel, label: str, places: list[Place], calibration: dict[str, float], batches: list[Batch]
) -> Rows:
    """Histograms of the inputs and weights of some modules, in the unquantized model.

    Args:
        model: the unquantized model.
        label: its name in the table.
        places: the modules.
        calibration: largest |x| by module name, on these very windows or others; larger values count in the last bin.
        batches: windows of text.
    """
    counted = {place.name: torch.zeros(_BINS, dtype=torch.int64) for place in places if calibration[place.name] > 0}
    handles: list[RemovableHandle] = []
    try:
        handles += [
            place.module.register_forward_pre_hook(_counter(place.name, calibration, counted))
            for place in places
            if place.name in counted
        ]
        with frozen(model):
            for batch in batches:
                loss_sums(model, batch)
    finally:
        for handle in handles:
            handle.remove()
    rows = Rows("histograms")
    for place in places:
        if place.name in counted:
            _add(rows, label, place, "activation", calibration[place.name], counted[place.name])
        weight = place.module.weight.detach()
        largest = float(weight.abs().max())
        if largest > 0:
            _add(rows, label, place, "weight", largest, counts(weight, largest))
    return rows


def _counter(name: str, calibration: dict[str, float], counted: dict[str, Tensor]) -> Any:
    def count(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        counted[name] += counts(inputs[0], calibration[name])

    return count


def _add(rows: Rows, label: str, place: Place, tensor: str, largest: float, of: Tensor) -> None:
    edges = largest * 2.0 ** (torch.arange(-_BINS, 1, dtype=torch.float64) / PER_OCTAVE)
    rows.add(model=label, layer=place.layer, site=place.site, module=place.name, tensor=tensor,
             low=edges[:-1].numpy(), high=edges[1:].numpy(), count=of.numpy())  # fmt: skip
